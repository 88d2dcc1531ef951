//! Rules, put together of what the kernel's packet filter can do.

use netlink_bindings::{
    nftables::{self, CmpOps, CtKeys, FibFlags, MetaKeys, PayloadBase, PushExprListAttrs, VerdictCode},
    traits::Pusher,
    utils::{finalize_nested_header, push_header, push_nested_header},
};

use super::{TABLE, header};
use crate::netlink::Batch;

/// The register that the first value goes to: the first of sixteen that hold four bytes each. Longer values take more.
pub(super) const FIRST: u32 = 8;

const NF_NAT_DESTINATION: u32 = 1;
const RTN_LOCAL: u32 = 2;
// Unlike the kernel's description, the kernel counts these from 1.
const FIB_OIF: u32 = 1;
const FIB_ADDRTYPE: u32 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
/// `ct state new`, as the kernel keeps it.
const STATE_NEW: u32 = 8;
/// `ct status dnat`.
const STATUS_DNAT: u32 = 0x20;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;

/// The two kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Ip {
    pub(super) const ALL: [Ip; 2] = [Ip::V4, Ip::V6];

    pub(super) const fn number(self) -> u32 {
        match self {
            Ip::V4 => 2,
            Ip::V6 => 10,
        }
    }

    pub(super) const fn length(self) -> u32 {
        match self {
            Ip::V4 => 4,
            Ip::V6 => 16,
        }
    }

    const fn source_at(self) -> u32 {
        match self {
            Ip::V4 => 12,
            Ip::V6 => 8,
        }
    }
}

/// A rule in the making: conditions from left to right, then what is done.
#[derive(Debug, Default)]
pub(super) struct Rule(Vec<u8>);

impl Rule {
    fn list(&mut self) -> PushExprListAttrs<&mut Vec<u8>> {
        PushExprListAttrs::new(&mut self.0)
    }

    /// Loads something that is known of the packet.
    pub(super) fn meta(mut self, key: MetaKeys, register: u32) -> Rule {
        self.list().nested_elem().nested_data_meta().push_dreg(register).push_key(key as u32);
        self
    }

    /// Loads a part of the network's or the transport's header.
    pub(super) fn payload(mut self, base: PayloadBase, offset: u32, length: u32, register: u32) -> Rule {
        self.list()
            .nested_elem()
            .nested_data_payload()
            .push_dreg(register)
            .push_base(base as u32)
            .push_offset(offset)
            .push_len(length);
        self
    }

    /// Loads the sender's address.
    pub(super) fn source(self, ip: Ip) -> Rule {
        self.payload(PayloadBase::NetworkHeader, ip.source_at(), ip.length(), FIRST)
    }

    /// Loads the receiver's address.
    pub(super) fn destination(self, ip: Ip) -> Rule {
        self.payload(PayloadBase::NetworkHeader, ip.source_at() + ip.length(), ip.length(), FIRST)
    }

    /// Goes on only where the first value is this.
    pub(super) fn is(self, value: &[u8]) -> Rule {
        self.compare(CmpOps::Eq, value)
    }

    /// Goes on only where the first value is not this.
    pub(super) fn differs(self, value: &[u8]) -> Rule {
        self.compare(CmpOps::Neq, value)
    }

    fn compare(mut self, operation: CmpOps, value: &[u8]) -> Rule {
        self.list()
            .nested_elem()
            .nested_data_cmp()
            .push_sreg(FIRST)
            .push_op(operation as u32)
            .nested_data()
            .push_value(value);
        self
    }

    /// Goes on only with packets of this kind of address.
    pub(super) fn only(self, ip: Ip) -> Rule {
        self.meta(MetaKeys::Nfproto, FIRST).is(&[u8::try_from(ip.number()).unwrap_or(0)])
    }

    /// Goes on only where what is loaded is in a set.
    pub(super) fn in_set(self, set: &str) -> Rule {
        self.lookup(set, &[])
    }

    /// Replaces what is loaded by what a map has for it; goes on only where it has something.
    pub(super) fn map(self, map: &str) -> Rule {
        self.lookup(map, &[(NFTA_LOOKUP_DREG, FIRST)])
    }

    /// By hand: the kernel's description numbers the parts of this expression as the kernel does not.
    fn lookup(mut self, set: &str, more: &[(u16, u32)]) -> Rule {
        let element = push_nested_header(&mut self.0, NFTA_LIST_ELEM);
        push_text(&mut self.0, NFTA_EXPR_NAME, "lookup");
        let data = push_nested_header(&mut self.0, NFTA_EXPR_DATA);
        push_text(&mut self.0, NFTA_LOOKUP_SET, set);
        for (kind, value) in [(NFTA_LOOKUP_SREG, FIRST)].iter().chain(more) {
            push_header(&mut self.0, *kind, 4);
            self.0.extend(value.to_be_bytes());
        }
        finalize_nested_header(&mut self.0, data);
        finalize_nested_header(&mut self.0, element);
        self
    }

    /// Goes on only with the first packets of connections.
    pub(super) fn only_new(self) -> Rule {
        self.tracked(CtKeys::State, STATE_NEW)
    }

    /// Goes on only where the connection's destination was changed.
    pub(super) fn only_forwarded(self) -> Rule {
        self.tracked(CtKeys::Status, STATUS_DNAT)
    }

    fn tracked(mut self, key: CtKeys, bits: u32) -> Rule {
        self.list().nested_elem().nested_data_ct().push_dreg(FIRST).push_key(key as u32);
        self.list()
            .nested_elem()
            .nested_data_bitwise()
            .push_sreg(FIRST)
            .push_dreg(FIRST)
            .push_len(4)
            .nested_mask()
            .push_value(&bits.to_ne_bytes())
            .end_nested()
            .nested_xor()
            .push_value(&[0; 4]);
        self.differs(&[0; 4])
    }

    /// Goes on only with packets to an address of this machine.
    pub(super) fn only_to_this_machine(mut self) -> Rule {
        self.list()
            .nested_elem()
            .nested_data_fib()
            .push_dreg(FIRST)
            .push_result(FIB_ADDRTYPE)
            .push_flags(FibFlags::Daddr as u32);
        self.is(&RTN_LOCAL.to_ne_bytes())
    }

    /// Goes on only where an answer would not leave through the interface that the packet came in by.
    pub(super) fn only_strangers(mut self) -> Rule {
        self.list()
            .nested_elem()
            .nested_data_fib()
            .push_dreg(FIRST)
            .push_result(FIB_OIF)
            .push_flags(FibFlags::Saddr as u32 | FibFlags::Iif as u32 | FibFlags::Present as u32);
        self.is(&[0; 4])
    }

    /// Sends the packet to the address and the port that are loaded.
    pub(super) fn forward(mut self, ip: Ip, port_register: u32) -> Rule {
        self.list()
            .nested_elem()
            .nested_data_nat()
            .push_type(NF_NAT_DESTINATION)
            .push_family(ip.number())
            .push_reg_addr_min(FIRST)
            .push_reg_proto_min(port_register);
        self
    }

    /// Sends the packet as if it came from this machine.
    pub(super) fn masquerade(mut self) -> Rule {
        self.list().nested_elem().push_name(c"masq");
        self
    }

    /// Lets the packet vanish.
    pub(super) fn drop(self) -> Rule {
        self.verdict(VerdictCode::Drop, None)
    }

    /// Goes on in another chain, and does not come back.
    pub(super) fn goto(self, chain: &str) -> Rule {
        self.verdict(VerdictCode::Goto, Some(chain))
    }

    fn verdict(mut self, code: VerdictCode, chain: Option<&str>) -> Rule {
        let list = self.list();
        let mut verdict =
            list.nested_elem().nested_data_immediate().push_dreg(0).nested_data().nested_verdict();
        verdict = verdict.push_code(code as u32);
        if let Some(chain) = chain {
            verdict = verdict.push_chain_bytes(chain.as_bytes());
        }
        drop(verdict);
        self
    }

    /// Appends the rule to a chain.
    pub(super) fn add(self, batch: &mut Batch, chain: &str) {
        let mut request = nftables::Request::new().set_create().set_append().op_newrule_do(&header());
        let mut attributes = request.encode().push_table_bytes(TABLE).push_chain_bytes(chain.as_bytes());
        let buffer = attributes.as_vec_mut();
        let at = push_nested_header(buffer, NFTA_RULE_EXPRESSIONS);
        buffer.extend(self.0);
        finalize_nested_header(buffer, at);
        drop(attributes);
        batch.add("add a rule to nftables chain", chain, &request);
    }
}

fn push_text(buffer: &mut Vec<u8>, kind: u16, text: &str) {
    push_header(buffer, kind, u16::try_from(text.len() + 1).unwrap_or(1));
    buffer.extend(text.as_bytes());
    buffer.push(0);
}
