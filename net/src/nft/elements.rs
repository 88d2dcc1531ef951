//! Adding, removing and listing what pods have in the table.

use netlink_bindings::nftables::{self, SetelemListAttrs};
use rustix::io::Errno;

use super::{TABLE, entry::Entry, header, rule::Ip, table, transaction};
use crate::{
    error::{Error, Result, failed},
    netlink::{Batch, Socket},
};

/// In the data that nft keeps for itself: a comment.
const COMMENT: u8 = 0;

/// How many elements go into one message, whose parts have a length of sixteen bits.
const AT_ONCE: usize = 128;

/// Whether this kernel has nftables.
pub(crate) fn available(socket: &mut Socket) -> Result<()> {
    socket
        .ask(&nftables::Request::new().op_getgen_do(&header()), |_| {})
        .map_err(failed("ask for nftables,", "which networks of pods need"))
}

/// Adds entries, all or none, with the table where it is missing. The comment says whose they are.
///
/// # Errors
/// With [`Errno::EXIST`] where one of them is there already.
pub(crate) fn add(socket: &mut Socket, entries: &[Entry], comment: &str) -> Result<()> {
    let owned: Vec<(&Entry, &str)> = entries.iter().map(|entry| (entry, comment)).collect();
    loop {
        if !owned.is_empty() || is_there(socket)? {
            match socket.execute(&transaction(|batch| push_all(batch, &owned))) {
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                other => return other,
            }
        }
        let made = socket.execute(&transaction(|batch| {
            table::make(batch);
            push_all(batch, &owned);
        }));
        match made {
            // Another rkt was faster: its table will do.
            Err(Error::Io { operation: table::MAKE, .. }) if is_there(socket)? => {}
            other => return other,
        }
    }
}

/// Replaces the table by a new one with these entries, each with its comment, in one step.
pub(crate) fn rebuild(socket: &mut Socket, entries: &[(Entry, String)]) -> Result<()> {
    let owned: Vec<(&Entry, &str)> =
        entries.iter().map(|(entry, comment)| (entry, comment.as_str())).collect();
    let there = is_there(socket)?;
    socket.execute(&transaction(|batch| {
        if there {
            let mut request = nftables::Request::new().op_deltable_do(&header());
            request.encode().push_name_bytes(TABLE);
            batch.add("remove nftables table", "inet rkt", &request);
        }
        table::make(batch);
        push_all(batch, &owned);
    }))
}

/// Removes entries. Those that somebody else has removed already are passed over.
pub(crate) fn remove(socket: &mut Socket, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let gone = |error: &Error| error.errno() == Some(Errno::NOENT);
    match socket.execute(&transaction(|batch| entries.iter().for_each(|entry| pull(batch, entry)))) {
        Err(error) if gone(&error) => {}
        other => return other,
    }
    for entry in entries {
        match socket.execute(&transaction(|batch| pull(batch, entry))) {
            Err(error) if gone(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// All entries with their comments. None where there is no table.
pub(crate) fn listed(socket: &mut Socket) -> Result<Vec<(Entry, String)>> {
    let mut found = Vec::new();
    let per_ip = Ip::ALL.map(table::names);
    let sets = per_ip.iter().flat_map(|names| [names.targets, names.ports, names.ports_at]);
    for set in sets {
        let mut request = nftables::Request::new().op_getsetelem_dump(&header());
        request.encode().push_table_bytes(TABLE).push_set_bytes(set.as_bytes());
        let asked = socket.ask(&request, |(_, attributes)| {
            for elements in attributes.filter_map(|attribute| match attribute {
                Ok(SetelemListAttrs::Elements(elements)) => Some(elements),
                _ => None,
            }) {
                for element in elements.flatten() {
                    let nftables::SetelemListElemAttrs::Elem(element) = element;
                    let value = |data: Result<nftables::IterableDataAttrs<'_>, _>| {
                        data.ok().and_then(|data| data.get_value().ok().map(<[u8]>::to_vec))
                    };
                    let Some(key) = value(element.get_key().map_err(drop)) else { continue };
                    let data = value(element.get_data().map_err(drop));
                    let comment = element.get_userdata().ok().and_then(comment_of).unwrap_or_default();
                    found.extend(Entry::read(set, &key, data.as_deref()).map(|entry| (entry, comment)));
                }
            }
        });
        match asked {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(failed("list nftables set", set)(errno)),
        }
    }
    Ok(found)
}

/// Makes the table where it is missing.
pub(crate) fn ensure(socket: &mut Socket) -> Result<()> {
    if is_there(socket)? { Ok(()) } else { add(socket, &[], "") }
}

/// Whether there is the table.
pub(crate) fn is_there(socket: &mut Socket) -> Result<bool> {
    let mut request = nftables::Request::new().op_gettable_do(&header());
    request.encode().push_name_bytes(TABLE);
    match socket.ask(&request, |_| {}) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed("look for nftables table", "inet rkt")(errno)),
    }
}

fn push_all(batch: &mut Batch, entries: &[(&Entry, &str)]) {
    // Those of one set go together, where there are many.
    let mut sets: Vec<&'static str> = Vec::new();
    for (entry, _) in entries {
        let set = entry.element().set;
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    for set in sets {
        let ours: Vec<_> = entries.iter().filter(|(entry, _)| entry.element().set == set).collect();
        for some in ours.chunks(AT_ONCE) {
            let mut request = nftables::Request::new().set_create().set_excl().op_newsetelem_do(&header());
            let mut list =
                request.encode().push_table_bytes(TABLE).push_set_bytes(set.as_bytes()).nested_elements();
            for (entry, comment) in some {
                let element = entry.element();
                let mut one = list.nested_elem().nested_key().push_value(&element.key).end_nested();
                if let Some(data) = &element.data {
                    one = one.nested_data().push_value(data).end_nested();
                }
                list = one.push_userdata(&user_data(comment)).end_nested();
            }
            drop(list);
            let shown: Vec<String> = some.iter().map(|(entry, _)| entry.shown()).collect();
            batch.add("add to nftables", shown.join(", "), &request);
        }
    }
}

fn pull(batch: &mut Batch, entry: &Entry) {
    let element = entry.element();
    let mut request = nftables::Request::new().op_delsetelem_do(&header());
    request
        .encode()
        .push_table_bytes(TABLE)
        .push_set_bytes(element.set.as_bytes())
        .nested_elements()
        .nested_elem()
        .nested_key()
        .push_value(&element.key);
    batch.add("remove from nftables", entry.shown(), &request);
}

fn user_data(comment: &str) -> Vec<u8> {
    let mut data = vec![COMMENT, u8::try_from(comment.len() + 1).unwrap_or(1)];
    data.extend(comment.as_bytes());
    data.push(0);
    data
}

fn comment_of(data: &[u8]) -> Option<String> {
    let [COMMENT, length, text @ ..] = data else { return None };
    let text = text.get(..usize::from(*length).checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}
