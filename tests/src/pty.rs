//! A terminal for commands that want one.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{outcome::status_of, rkt::wait_until};

/// A command that runs on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    text: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts `command` in a session of its own with a new terminal, 80 by 24, as `login` would.
    pub fn start(inner: &Command) -> Terminal {
        let terminal = Terminal::start_unread(inner);
        let (sink, mut source) = (Arc::clone(&terminal.text), terminal.master.try_clone().unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the other side is an error (EIO) here.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        terminal
    }

    /// The same, with nobody who looks at the screen.
    pub fn start_unread(inner: &Command) -> Terminal {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // The command holds the other side as long as its descriptors are open; so does `command`.
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let master = File::from(master);
        Terminal { master, child, text: Arc::default() }
    }

    /// Types.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// Takes the terminal away, as a connection that breaks does. It must be one that nobody looks at.
    pub fn hang_up(&mut self) {
        self.master = File::open("/dev/null").unwrap();
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the screen has shown `part`.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        let mut seen = String::new();
        for _ in 0..3000 {
            seen = self.text();
            if seen.contains(part) {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{part:?} did not appear on the terminal:\n{seen}");
    }

    /// All that the screen has shown.
    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the command's end; its exit status, or 128 + signal.
    #[track_caller]
    pub fn wait(mut self) -> i32 {
        let mut status = None;
        wait_until("the command on the terminal", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status_of(status.unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().expect("kill the command");
            self.child.wait().expect("wait for the command");
        }
    }
}
