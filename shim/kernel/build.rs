//! Names this build of the arena's code: a hash over the sources, so that two processes share an
//! arena only if they agree on every byte of it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files)?;
    files.sort();

    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.add(env::var("CARGO_PKG_VERSION").unwrap_or_default().as_bytes());
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file);
        hash.add(name.as_os_str().as_encoded_bytes());
        hash.add(&fs::read(file)?);
    }
    let text = format!(
        "/// Hash of ringer-kernel's sources: see `Header::check`.\n\
         pub const BUILD: u64 = {:#018x};\n",
        hash.0
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("build_id.rs"), text)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits. The length goes in too, so that pieces can not run into each other.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
