//! A `sem_t` is glibc's: one in shared memory works between a program that ringer is in and one that it does not reach.

use libc::sem_t;
use ringer_support::cc::cc_static;
use ringer_support::check;
use ringer_support::prelude::*;

/// Counts through the two semaphores of the file argv[1]: waits for the first, posts the second; ten times.
const STRANGER: &str = r#"
    #include <fcntl.h>
    #include <semaphore.h>
    #include <sys/mman.h>
    int main(int argc, char **argv) {
        int fd = open(argv[argc - 1], O_RDWR);
        sem_t *s = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (s == MAP_FAILED)
            return 1;
        for (int i = 0; i < 10; i++)
            if (sem_wait(&s[0]) != 0 || sem_post(&s[1]) != 0)
                return 2;
        return 0;
    }"#;

both_worlds!(
    a_semaphore_is_shared_with_a_program_that_ringer_is_not_in,
    {
        let path = std::env::temp_dir().join(format!("ringer-sem-{}", getpid()));
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        let file = file.expect("a file");
        file.set_len(4096).expect("a page");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, fd, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        let there: *mut sem_t = page.cast();
        let back = there.wrapping_add(1);
        // SAFETY: room for both, shared.
        unsafe {
            assert_eq!(check(libc::sem_init(there, 1, 0)), Ok(0));
            assert_eq!(check(libc::sem_init(back, 1, 0)), Ok(0));
        }
        let stranger = cc_static(STRANGER);
        let argument = path.to_str().expect("a path").to_owned();
        let child = fork_run(|| exec(&stranger, &[&argument]));
        child.sleeping();
        for n in 0..10 {
            // It waits for us, then we for it.
            if n % 2 == 0 {
                pause(std::time::Duration::from_millis(2));
            }
            // SAFETY: semaphores.
            unsafe {
                assert_eq!(check(libc::sem_post(there)), Ok(0));
                assert_eq!(check(libc::sem_wait(back)), Ok(0));
            }
        }
        child.succeeds();
        std::fs::remove_file(&path).expect("it");
    }
);

both_worlds!(threads_that_wait_can_be_cancelled, {
    fork_run(|| exec(&program("ipc_cancel", Linkage::Dynamic), &[])).succeeds();
});
