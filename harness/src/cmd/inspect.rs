//! `ringer inspect`: an arena, live or dead; with `--check`, whether it is in order.

use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::layout;
use ringer_kernel::arena::off::UNIT;

use crate::arena::check;
use crate::cli;
use crate::error::Result;
use crate::session::{self, Access, Session};
use crate::ui::{self, human};

pub fn main(args: cli::Inspect) -> Result<u8> {
    let session = match (&args.session, &args.file) {
        (Some(name), _) => session::find(name)?,
        (None, Some(path)) => Session::open(path, Access::Look)?,
        (None, None) => return Ok(crate::error::OWN_TROUBLE), // clap has seen to it
    };
    if !args.check {
        ui::print(&overview(&session))?;
        return Ok(0);
    }
    let findings = check::check(&session.arena);
    if args.json {
        ui::print_json(&findings)?;
    } else {
        ui::print(
            &findings
                .iter()
                .map(|f| format!("{f}\n"))
                .collect::<String>(),
        )?;
    }
    Ok(u8::from(!findings.is_empty()))
}

fn overview(session: &Session) -> String {
    let h = session.header();
    let n = |counter: &ringer_kernel::sync::atomic::AtomicU32| counter.load(Relaxed);
    let table = |counter| n(counter).saturating_sub(1);
    let heap = (n(&h.bump) as usize * UNIT).saturating_sub(layout::HEAP);
    format!(
        "session      {}\n\
         file         {}\n\
         build        {:016x}, layout {}\n\
         made by      {}, supervised by {}\n\
         most ever    {} processes, {} threads, {} descriptions, {} pipes, {} log rings\n\
         heap         {} handed out so far\n\
         pipes        {} live, {} ever, {} demoted\n\
         locks        {} taken over from the dead\n",
        session.name(),
        session.path.display(),
        h.build.load(Relaxed),
        n(&h.layout_version),
        n(&h.creator),
        n(&h.supervisor),
        table(&h.procs_used),
        table(&h.tasks_used),
        table(&h.files_used),
        table(&h.pipes_used),
        table(&h.rings_used),
        human::bytes(heap as u64),
        n(&h.pipes_live),
        n(&h.object_ids),
        n(&h.demotions),
        n(&h.orphaned),
    )
}
