//! Requests that bound how much goes through an interface. The kernel's descriptions of these are one and a half
//! megabytes of code, of which this is all that we need.

use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};

use crate::netlink::Batch;

// linux/rtnetlink.h
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
// linux/pkt_sched.h
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
const INGRESS_HANDLE: u32 = 0xffff_0000;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const LINKLAYER_ETHERNET: u8 = 1;
// linux/pkt_cls.h and linux/tc_act/tc_mirred.h
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TC_ACT_STOLEN: u32 = 4;
const TCA_EGRESS_REDIR: u32 = 1;
const ETH_P_ALL: u16 = 3;

/// How much may go through an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// The largest packet.
    pub(crate) mtu: u32,
}

impl Rate {
    /// How much may go at once, after nothing went for a while: what is due in 20 ms, and at least four packets.
    pub(crate) fn burst(self) -> u32 {
        let packets = self.mtu.saturating_mul(4);
        u32::try_from(self.rate / 50).unwrap_or(u32::MAX).clamp(packets, u32::MAX / 16)
    }

    /// How much waits before more of it is dropped: what is due in 50 ms, and at least sixteen packets.
    fn queue(self) -> u32 {
        let packets = self.mtu.saturating_mul(16);
        u32::try_from(self.rate / 20).unwrap_or(u32::MAX).clamp(packets, u32::MAX / 8) + self.burst()
    }
}

/// Bounds what leaves through an interface.
pub(crate) fn leaving(batch: &mut Batch, index: u32, name: &str, rate: Rate) {
    let mut payload = header(index, TC_H_ROOT, 0);
    push_text(&mut payload, TCA_KIND, b"tbf");
    let options = push_nested_header(&mut payload, TCA_OPTIONS);
    let mut parameters = [0_u8; 36];
    let lower = u32::try_from(rate.rate).unwrap_or(u32::MAX);
    parameters[1] = LINKLAYER_ETHERNET;
    parameters[8..12].copy_from_slice(&lower.to_ne_bytes());
    parameters[24..28].copy_from_slice(&rate.queue().to_ne_bytes());
    push_bytes(&mut payload, TCA_TBF_PARMS, &parameters);
    push_bytes(&mut payload, TCA_TBF_BURST, &rate.burst().to_ne_bytes());
    push_bytes(&mut payload, TCA_TBF_RATE64, &rate.rate.to_ne_bytes());
    finalize_nested_header(&mut payload, options);
    batch.add_made("limit what leaves through", name, RTM_NEWQDISC, &payload);
}

/// Has all that arrives by an interface leave through interface number `to`, which gives it back.
pub(crate) fn lead_arriving(batch: &mut Batch, index: u32, name: &str, to: u32) {
    let mut payload = header(index, TC_H_INGRESS, 0);
    payload[8..12].copy_from_slice(&INGRESS_HANDLE.to_ne_bytes());
    push_text(&mut payload, TCA_KIND, b"ingress");
    batch.add_made("limit what arrives by", name, RTM_NEWQDISC, &payload);
    let every_protocol = (1 << 16) | u32::from(ETH_P_ALL.to_be());
    let mut payload = header(index, INGRESS_HANDLE, every_protocol);
    push_text(&mut payload, TCA_KIND, b"u32");
    let options = push_nested_header(&mut payload, TCA_OPTIONS);
    // A selector that compares nothing holds for every packet.
    let mut selector = [0_u8; 16];
    selector[0] = TC_U32_TERMINAL;
    push_bytes(&mut payload, TCA_U32_SEL, &selector);
    let actions = push_nested_header(&mut payload, TCA_U32_ACT);
    let first = push_nested_header(&mut payload, 1);
    push_text(&mut payload, TCA_ACT_KIND, b"mirred");
    let act = push_nested_header(&mut payload, TCA_ACT_OPTIONS);
    let mirred: Vec<u8> =
        [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to].into_iter().flat_map(u32::to_ne_bytes).collect();
    push_bytes(&mut payload, TCA_MIRRED_PARMS, &mirred);
    for nested in [act, first, actions, options] {
        finalize_nested_header(&mut payload, nested);
    }
    batch.add_made("limit what arrives by", name, RTM_NEWTFILTER, &payload);
}

/// `struct tcmsg`
fn header(index: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, index, 0, parent, info].into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn push_text(payload: &mut Vec<u8>, kind: u16, text: &[u8]) {
    let ended: Vec<u8> = text.iter().copied().chain([0]).collect();
    push_bytes(payload, kind, &ended);
}

fn push_bytes(payload: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    push_header(payload, kind, u16::try_from(bytes.len()).unwrap_or(0));
    payload.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_always_more_than_goes_at_once() {
        for rate in [1, 1_000, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            for mtu in [1280, 1500, 65535] {
                let rate = Rate { rate, mtu };
                assert!(rate.burst() > mtu && rate.queue() > rate.burst(), "{rate:?}");
            }
        }
        assert_eq!(Rate { rate: 10_000_000, mtu: 1500 }.burst(), 200_000);
    }
}
