//! Our one connection to the system bus.
//!
//! A thread of its own drives it, so that connecting goes on while the pod's namespaces are made, and so that nothing
//! but what we want reaches the supervisor: the ends of units, and the answers to calls that failed.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::StreamExt;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    io::Errno,
};
use zbus::{Connection, Message, MessageStream, message};

use super::slots::{self, Slot};

/// How long the bus, or a service on it, may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// What the bus answers where a service has more to read than it keeps.
const CROWDED: &str = "org.freedesktop.DBus.Error.LimitsExceeded";

/// How long a call is tried again after that answer.
const CROWDED_TIMEOUT: Duration = Duration::from_secs(60);

/// Where systemd says that it is the service manager (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// A connection that is being made.
#[derive(Debug)]
pub(crate) struct Connecting(mpsc::Receiver<Result<Bus>>);

/// The connection.
#[derive(Debug)]
pub(crate) struct Bus {
    connection: Connection,
    incoming: mpsc::Receiver<Message>,
    wake: Arc<OwnedFd>,
    sent: Sent,
}

/// Calls that were not answered yet, by their serial numbers.
type Sent = Arc<Mutex<HashMap<NonZeroU32, Call>>>;

/// One of them.
#[derive(Debug)]
struct Call {
    message: Message,
    since: Instant,
    /// What it keeps until it is answered.
    _slot: Option<Slot>,
}

impl Connecting {
    /// Starts to connect, where systemd is the service manager.
    pub(crate) fn start() -> Result<Connecting> {
        if !Path::new(BOOTED).is_dir() {
            bail!("systemd is not the service manager here ({BOOTED} does not exist)");
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || zbus::block_on(drive(&sender)))
            .context("start a thread for the bus")?;
        Ok(Connecting(receiver))
    }

    /// Waits for the connection.
    pub(crate) fn wait(self) -> Result<Bus> {
        match self.0.recv_timeout(TIMEOUT) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(anyhow!("the system bus does not answer")),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(anyhow!("the connection to the system bus broke"))
            }
        }
    }
}

/// Connects, hands the connection over, and passes on what comes in until the connection ends.
async fn drive(result: &mpsc::SyncSender<Result<Bus>>) {
    let (connection, wake) = match connect().await {
        Ok(made) => made,
        Err(error) => {
            if result.send(Err(error)).is_err() {
                // Nobody waits any more.
            }
            return;
        }
    };
    let mut stream = MessageStream::from(&connection);
    let (sender, incoming) = mpsc::channel();
    let sent = Sent::default();
    let bus =
        Bus { connection: connection.clone(), incoming, wake: Arc::clone(&wake), sent: Arc::clone(&sent) };
    if result.send(Ok(bus)).is_err() {
        return;
    }
    while let Some(message) = stream.next().await {
        let Ok(message) = message else { break };
        let answered = message.header().reply_serial();
        let call = answered.and_then(|serial| {
            Some((serial, sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&serial)?))
        });
        if let Some((serial, call)) = call
            && is_crowded(&message)
            && call.since.elapsed() < CROWDED_TIMEOUT
        {
            std::thread::sleep(slots::pause());
            let again = call.message.clone();
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert(serial, call);
            if connection.send(&again).await.is_ok() {
                continue;
            }
        }
        let wanted = matches!(message.message_type(), message::Type::Signal | message::Type::Error);
        if wanted
            && (sender.send(message).is_err() || rustix::io::write(&wake, &1_u64.to_ne_bytes()).is_err())
        {
            break;
        }
    }
}

fn is_crowded(message: &Message) -> bool {
    message.header().error_name().is_some_and(|name| name.as_str() == CROWDED)
}

async fn connect() -> Result<(Connection, Arc<OwnedFd>)> {
    let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .context("make an eventfd")?;
    let connection = zbus::connection::Builder::system()
        .method_timeout(TIMEOUT)
        .build()
        .await
        .map_err(|error| anyhow!("connect to the system bus: {error}{}", advice(&error)))?;
    Ok((connection, Arc::new(wake)))
}

/// What to do about it.
fn advice(error: &zbus::Error) -> &'static str {
    if error.to_string().contains(CROWDED) {
        "; each pod keeps a connection: raise max_connections_per_user in /etc/dbus-1/system.d (rkt's bus-limits.conf \
         does), or run pods with --supervisor=direct"
    } else {
        ""
    }
}

/// A method of an object on the bus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// The service's name.
    pub(crate) service: &'static str,
    /// The object.
    pub(crate) object: &'static str,
    /// The interface.
    pub(crate) interface: &'static str,
    /// The method.
    pub(crate) name: &'static str,
}

impl Bus {
    /// Calls a method and waits for its answer.
    pub(crate) fn call<B>(&self, method: Method, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call_at(method, method.object, body)
    }

    /// The same of another object.
    pub(crate) fn call_at<B>(&self, method: Method, object: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let since = Instant::now();
        loop {
            let answer = zbus::block_on(self.connection.call_method(
                Some(method.service),
                object,
                Some(method.interface),
                method.name,
                body,
            ));
            match answer {
                Err(zbus::Error::MethodError(name, ..))
                    if name.as_str() == CROWDED && since.elapsed() < CROWDED_TIMEOUT =>
                {
                    std::thread::sleep(slots::pause());
                }
                other => return other,
            }
        }
    }

    /// Calls a method and waits until it is done. That it fails with the error `fine` is as good.
    pub(crate) fn call_unless<B>(&self, method: Method, body: &B, fine: &str) -> Result<()>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        match self.call(method, body) {
            Ok(_) => Ok(()),
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == fine => Ok(()),
            Err(error) => Err(anyhow!("{error}")),
        }
    }

    /// Calls a method without waiting. Where it fails, its error comes with [`Bus::incoming`] and names the serial
    /// number returned here.
    pub(crate) fn send<B>(&self, method: Method, body: &B) -> Result<NonZeroU32>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.send_with(method, body, None)
    }

    /// The same for a call that carries a descriptor, for which a slot has been taken.
    pub(super) fn send_with<B>(&self, method: Method, body: &B, slot: Option<Slot>) -> Result<NonZeroU32>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let build = || -> zbus::Result<Message> {
            Message::method_call(method.object, method.name)
                .destination(method.service)
                .interface(method.interface)
                .build(body)
        };
        let message = build().map_err(|error| anyhow!("call {}: {error}", method.name))?;
        let serial = message.primary_header().serial_num();
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert(serial, Call { message: message.clone(), since: Instant::now(), _slot: slot });
        drop(sent);
        zbus::block_on(self.connection.send(&message))
            .map_err(|error| anyhow!("call {}: {error}", method.name))?;
        Ok(serial)
    }

    /// Asks for the signals that match.
    pub(crate) fn add_match(&self, rule: &str) -> Result<()> {
        const ADD_MATCH: Method = Method {
            service: "org.freedesktop.DBus",
            object: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "AddMatch",
        };
        self.send(ADD_MATCH, &(rule,)).map(drop)
    }

    /// Readable when something came in.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Waits for signals and errors, at most until `deadline`, or until the process of `pidfd` has ended.
    pub(crate) fn wait(&self, pidfd: BorrowedFd<'_>, deadline: Instant) -> Result<Vec<Message>> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.wake(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        ];
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("wait for the bus")?;
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(0) => bail!("systemd does not answer within {TIMEOUT:?}"),
            Ok(_) | Err(Errno::INTR) if fds[1].revents().is_empty() => Ok(self.incoming()),
            Ok(_) | Err(Errno::INTR) => bail!("the pod's init has ended"),
            Err(errno) => Err(errno).context("wait for the bus"),
        }
    }

    /// Makes [`Bus::wake`] readable.
    pub(crate) fn ring(&self) -> Result<()> {
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).map(drop).context("write to an eventfd")
    }

    /// The signals and errors that came in since the last call.
    pub(crate) fn incoming(&self) -> Vec<Message> {
        let mut count = [0; 8];
        if rustix::io::read(&self.wake, &mut count).is_err() {
            // Nothing new; the channel says the same below.
        }
        self.incoming.try_iter().collect()
    }
}
