//! Socket activation: what listens is systemd, what answers is an app.

use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use rkt_tests::{Image, Rkt, args, run, units::each};
use serde_json::{Value, json};

fn port(name: &str, number: u16) -> Value {
    json!({"name": name, "protocol": "tcp", "port": number, "socketActivated": true})
}

/// An image whose app answers at the sockets of these ports.
fn server(rkt: &Rkt, ports: &[Value], describe: impl Fn(Image) -> Image) -> String {
    let content = fs::read(env!("CARGO_BIN_EXE_service")).expect("the program service");
    let image = rkt.image("echo", |image| {
        let image = image.file("bin/service", content, 0o755).exec(&["/bin/service", "serves"]);
        describe(image.with("ports", json!(ports)))
    });
    image.display().to_string()
}

/// A port of the host that nobody has now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn answer(mut connection: impl Read) -> String {
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn a_connection_starts_a_pod_whose_app_answers_it() {
    each(|rkt, units| {
        let number = free_port();
        let image = server(rkt, &[port("echo", 9)], |image| image);
        let unit = units.example("echo.service", &[("example.com/echo:1.0", &image)]);
        let socket = units.example("echo.socket", &[("7007", &number.to_string())]);
        units.ctl(&["start", &socket]).success();
        assert_eq!(units.show(&unit, "ActiveState"), "inactive");
        for _ in 0..2 {
            let connection = TcpStream::connect(("127.0.0.1", number)).unwrap();
            assert_eq!(answer(connection), "hello from echo\n");
        }
        units.wait_for_journal(&unit, "serves 1: echo");
        assert_eq!(units.show(&unit, "ActiveState"), "active");
        let first = units.pod();
        // The socket outlives the pod.
        units.ctl(&["stop", &unit]).success();
        assert_eq!(answer(TcpStream::connect(("127.0.0.1", number)).unwrap()), "hello from echo\n");
        assert_ne!(units.pod(), first);
        units.ctl(&["stop", &socket, &unit]).success();
    });
}

#[test]
fn sockets_are_told_apart_by_their_ports_and_names() {
    each(|rkt, units| {
        // One port is its own, one is said on the command line, one is a name only.
        let (own, said) = (free_port(), free_port());
        let ports = [port("own", own), port("said", 80), port("named", 81)];
        let image = server(rkt, &ports, |image| image);
        let file = rkt.files().join("listen");
        let unit = units.write(
            "three.service",
            &format!(
                "[Unit]\nDescription=Three sockets\n[Service]\nType=notify\nKillMode=mixed\n\
                 ExecStart=/usr/bin/rkt run --net=default --port=said:{said} {image} --user=1000 --group=1001\n"
            ),
        );
        let service = format!("Service={unit}");
        let listen = [
            (format!("ListenStream=127.0.0.1:{own}"), "a"),
            (format!("ListenStream=127.0.0.1:{said}"), "b"),
            (format!("ListenStream={}", file.display()), "named"),
        ];
        let sockets: Vec<String> = listen
            .iter()
            .map(|(listen, name)| {
                let text = format!(
                    "[Unit]\nDescription=A socket\n[Socket]\n{listen}\nFileDescriptorName={name}\n{service}\n"
                );
                units.write(&format!("{name}.socket"), &text)
            })
            .collect();
        for socket in &sockets {
            units.ctl(&["start", socket]).success();
        }
        assert_eq!(answer(TcpStream::connect(("127.0.0.1", said)).unwrap()), "hello from said\n");
        assert_eq!(answer(TcpStream::connect(("127.0.0.1", own)).unwrap()), "hello from own\n");
        units.wait_for_journal(&unit, "serves 3: own said named");
        assert!(Path::new(&file).exists());
        let stops: Vec<&str> = std::iter::once("stop").chain(sockets.iter().map(String::as_str)).collect();
        units.ctl(&stops).success();
        units.ctl(&["stop", &unit]).success();
        fs::remove_file(file).unwrap();
    });
}

/// `rkt run` as `systemd-socket-activate` would start it, without systemd: a shell listens at nothing, but passes a descriptor.
fn run_with_socket(rkt: &Rkt, more: &[std::ffi::OsString]) -> rkt_tests::Outcome {
    let mut words = rkt.run_args(more);
    let command = rkt.command(words.drain(..));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec 3</dev/null; LISTEN_FDNAMES=web LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let outcome = run(&mut shell);
    rkt.rkt(["list"]).success();
    outcome
}

const SHOWS: &str = "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID == $$)); readlink /proc/self/fd/3";

#[test]
fn the_app_alone_gets_its_sockets_in_their_places() {
    let rkt = Rkt::new();
    let handlers = json!([
        {"name": "pre-start", "exec": ["/bin/sh", "-c", "echo pre${LISTEN_FDS}; readlink /proc/self/fd/3 || true"]},
        {"name": "post-stop", "exec": ["/bin/sh", "-c", "echo post${LISTEN_FDS}; readlink /proc/self/fd/3; exit 0"]},
    ]);
    for handlers in [json!([]), handlers] {
        let has_handlers = handlers.as_array().is_some_and(|all| !all.is_empty());
        let plain = rkt.image("plain", |image| {
            image.sh(SHOWS).with("eventHandlers", handlers.clone()).with("ports", json!([port("web", 80)]))
        });
        let end = run_with_socket(&rkt, &args![&plain]);
        let app = "1 web 1\n/dev/null\n";
        let expected = if has_handlers { format!("pre\n{app}post\n") } else { app.to_owned() };
        end.success().stdout_is(&expected);
    }
}

#[test]
fn what_nobody_wants_and_what_is_missing_is_told() {
    let rkt = Rkt::new();
    let other = rkt.image("other", |image| image.sh(SHOWS).with("ports", json!([port("other", 80)])));
    let end = run_with_socket(&rkt, &args![&other]);
    end.stderr_has("no socket was passed for its port \"other\"").stderr_has("socket \"web\": no app has");
    let quiet = rkt.image("quiet", |image| image.sh("echo \"[$LISTEN_FDS$LISTEN_PID]\"; ls /proc/self/fd"));
    let end = run_with_socket(&rkt, &args![&quiet]).success();
    end.stdout_is("[]\n0\n1\n2\n3\n").stderr_has("socket \"web\"");
}
