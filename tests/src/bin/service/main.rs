//! A service as service managers want it, for images: `service STEP…` does one step after the other. It is static, and needs
//! nothing but the kernel.
//!
//! `say=TEXT` sends TEXT to `$NOTIFY_SOCKET`, `,` standing for a new line; `print=TEXT` and `env=NAME` write to standard output;
//! `until=SIGNAL` waits for one of HUP, USR1 and USR2; `reloads` answers each SIGHUP, `beats` gives signs of life until SIGUSR2
//! comes, `serves` answers connections to the sockets that it was given; `stays` waits for its end.

#![allow(clippy::unwrap_used, reason = "a part of the tests: a panic is how they fail")]
#![allow(unsafe_code)]

use std::{
    env,
    io::Write,
    net::TcpListener,
    os::{fd::FromRawFd, unix::net::UnixDatagram},
    process, thread,
    time::Duration,
};

/// How often there is a sign of life.
const BEAT: Duration = Duration::from_millis(100);

fn main() {
    block(&[libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]);
    for step in env::args().skip(1) {
        match step.split_once('=').unwrap_or((step.as_str(), "")) {
            ("say", text) => say(&text.replace(',', "\n")),
            ("print", text) => println!("{text}"),
            ("env", name) => println!("{name}={}", env::var(name).unwrap_or_default()),
            ("until", name) => until(&[number(name)]),
            ("reloads", _) => reloads(),
            ("beats", _) => beats(),
            ("serves", _) => serves(),
            ("exits", status) => process::exit(status.parse().unwrap()),
            ("stays", _) => loop {
                thread::park();
            },
            _ => panic!("no step {step:?}"),
        }
    }
}

fn say(text: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(text.as_bytes(), env::var_os("NOTIFY_SOCKET").unwrap()).unwrap();
}

fn reloads() {
    loop {
        until(&[libc::SIGHUP]);
        say(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic()));
        println!("reloaded");
        say("READY=1\nSTATUS=fresh");
    }
}

fn beats() {
    let watched: u64 = env::var("WATCHDOG_USEC").unwrap().parse().unwrap();
    assert!(u128::from(watched) > BEAT.as_micros());
    thread::spawn(|| {
        loop {
            say("WATCHDOG=1");
            thread::sleep(BEAT);
        }
    });
    until(&[libc::SIGUSR2]);
    println!("hangs");
    // SAFETY: the process stays, and all of its threads do nothing any more.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

fn serves() {
    assert_eq!(env::var("LISTEN_PID").unwrap(), process::id().to_string());
    let count: i32 = env::var("LISTEN_FDS").unwrap().parse().unwrap();
    let names = env::var("LISTEN_FDNAMES").unwrap();
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    println!("serves {count}: {}", names.join(" "));
    let threads = (3..).zip(names).take(count as usize).map(|(fd, name)| {
        thread::spawn(move || {
            // SAFETY: it was passed to this process, and nothing else here knows it.
            let listener = unsafe { TcpListener::from_raw_fd(fd) };
            for mut connection in listener.incoming().flatten() {
                writeln!(connection, "hello from {name}").unwrap();
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

fn number(name: &str) -> i32 {
    match name {
        "HUP" => libc::SIGHUP,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        _ => panic!("no signal {name:?}"),
    }
}

fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: the set is initialised by the first call.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

fn block(signals: &[i32]) {
    let set = set(signals);
    // SAFETY: an initialised set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

fn until(signals: &[i32]) {
    let (set, mut got) = (set(signals), 0);
    // SAFETY: an initialised set, and a number that outlives the call.
    unsafe { libc::sigwait(&raw const set, &raw mut got) };
}

fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}
