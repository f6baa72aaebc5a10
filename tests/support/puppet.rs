//! Programs that are exec'ed with pipes in their hands, and do with them what they are told.
//! See tests/c/puppet.c for their orders.

use crate::cc::{exec, exec_with_env, program, Linkage};
use crate::child::{fork_run, getpid, is_root, Child};
use crate::fd::{close, Fd};
use crate::shared::Shared;
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::PathBuf;

/// How the program is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outsider {
    /// As any program.
    Dynamic,
    /// Linked statically: LD_PRELOAD means nothing to it.
    Static,
    /// Set-user-ID: the dynamic linker ignores LD_PRELOAD.
    SetUserId,
    /// With `LD_PRELOAD=` in its environment.
    EmptyPreload,
}

/// The set-user-ID copy; removed when the test is over.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The program that runs as the user `nobody`; made once per process.
fn set_user_id_program() -> PathBuf {
    let original = program("puppet", Linkage::Dynamic);
    let copy = Copy(original.with_extension(format!("suid.{}", getpid())));
    if !copy.0.exists() {
        std::fs::copy(&original, &copy.0).unwrap();
        chown(&copy.0, Some(65534), Some(65534)).unwrap();
        std::fs::set_permissions(&copy.0, PermissionsExt::from_mode(0o4755)).unwrap();
    }
    let path = copy.0.clone();
    std::mem::forget(copy);
    path
}

/// A scene: who is to be run, and the page by which to agree with it.
pub struct Scene {
    how: Outsider,
    /// The page that the program maps, too.
    pub s: Shared,
    page: Fd,
    path: PathBuf,
    suid: Option<Copy>,
}

impl Scene {
    /// `None` if we may not set up such a program here.
    pub fn new(how: Outsider) -> Option<Scene> {
        if how == Outsider::SetUserId && !is_root() {
            return None;
        }
        let (s, page) = Shared::with_fd();
        let path = match how {
            Outsider::Dynamic | Outsider::EmptyPreload => program("puppet", Linkage::Dynamic),
            Outsider::Static => program("puppet", Linkage::Static),
            Outsider::SetUserId => set_user_id_program(),
        };
        let suid = (how == Outsider::SetUserId).then(|| Copy(path.clone()));
        Some(Scene {
            how,
            s,
            page,
            path,
            suid,
        })
    }

    /// Becomes the program. Its orders are separated by blanks.
    pub fn exec(&self, orders: &str) -> ! {
        let page = format!("page:{}", self.page.number());
        let mut args = vec![&*page];
        args.extend(orders.split_ascii_whitespace());
        match self.how {
            Outsider::SetUserId => {
                args.push("secure:0");
                exec(&self.path, &args)
            }
            Outsider::EmptyPreload => exec_with_env(&self.path, &args, &[c"LD_PRELOAD="]),
            _ => exec(&self.path, &args),
        }
    }

    /// Forks and becomes the program there, without the descriptors in `close`.
    pub fn start(&self, close_these: &[&Fd], orders: &str) -> Child {
        fork_run(|| {
            for fd in close_these {
                close(*fd).unwrap();
            }
            self.exec(orders);
        })
    }

    /// Whether the program may open what it holds by its name in /proc.
    pub fn may_reopen(&self) -> bool {
        self.suid.is_none()
    }
}
