//! libgcc goes in statically: no process loads one library more than it must.

#![allow(clippy::disallowed_macros, clippy::disallowed_types)] // they are about the guest's path

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let found = Command::new(cc)
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    let path = found.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    if let Some(dir) = path
        .ok()
        .as_deref()
        .and_then(|p| std::path::Path::new(p).parent())
    {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
