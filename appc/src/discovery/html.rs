//! The `meta` tags of a page.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};

/// How much of a page is looked at, in bytes.
const MOST: usize = 4 << 20;

/// What a tag tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKind {
    /// `ac-discovery`: where images are.
    Images,
    /// `ac-discovery-pubkeys`: where keys are.
    PublicKeys,
}

/// A tag about discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaTag {
    /// What it tells.
    pub kind: MetaKind,
    /// The beginning of the names that it is for.
    pub prefix: String,
    /// A template, or a URL.
    pub rest: String,
}

/// The tags of a page about discovery, in order. What is no such tag is passed over, however broken the page is; of a
/// page larger than 4 MiB only the beginning is looked at.
pub fn meta_tags(page: &[u8]) -> Vec<MetaTag> {
    let text = String::from_utf8_lossy(&page[..page.len().min(MOST)]);
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(&text));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // Nothing is executed, so that nothing blocks: it stops only after all.
    while !matches!(tokenizer.feed(&input), html5ever::TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink.0.take()
}

#[derive(Debug, Default)]
struct Sink(RefCell<Vec<MetaTag>>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        if tag.kind != TagKind::StartTag {
            return TokenSinkResult::Continue;
        }
        match tag.name.as_ref() {
            "meta" => {
                if let Some(tag) = meta_tag(&tag) {
                    self.0.borrow_mut().push(tag);
                }
                TokenSinkResult::Continue
            }
            // What is in these is text, whatever it looks like.
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" | "noscript" => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            "plaintext" => TokenSinkResult::Plaintext,
            _ => TokenSinkResult::Continue,
        }
    }
}

fn meta_tag(tag: &Tag) -> Option<MetaTag> {
    // The tokenizer has put the names of attributes into lower case; values stay as they are.
    let value = |name: &str| {
        let attribute = tag.attrs.iter().find(|attribute| *attribute.name.local == *name);
        attribute.map(|attribute| &*attribute.value)
    };
    let kind = match value("name")? {
        "ac-discovery" => MetaKind::Images,
        "ac-discovery-pubkeys" => MetaKind::PublicKeys,
        _ => return None,
    };
    let (prefix, rest) = value("content")?.trim().split_once(' ')?;
    let rest = rest.trim();
    (!rest.is_empty()).then(|| MetaTag { kind, prefix: prefix.to_owned(), rest: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: MetaKind, prefix: &str, rest: &str) -> MetaTag {
        MetaTag { kind, prefix: prefix.to_owned(), rest: rest.to_owned() }
    }

    // APPC-350, APPC-363
    #[test]
    fn tags_are_found_as_the_reference_finds_them() {
        use MetaKind::{Images, PublicKeys};
        let page = r#"<!DOCTYPE html><html><head><title><meta name="ac-discovery" content="in title"></title>
            <META CONTENT="a.com https://a/{ext}" NAME="ac-discovery">
            <meta name='ac-discovery-pubkeys' content='  a.com   https://a/key ' />
            <meta name="AC-discovery" content="b c"><meta name="ac-other" content="b c">
            <meta name="ac-discovery"><meta content="b c"><meta name="ac-discovery" content="alone">
            <!-- <meta name="ac-discovery" content="in comment"> -->
            <script>document.write('<meta name="ac-discovery" content="in script">')</script>
            <style><meta name="ac-discovery" content="in style"></style>
            <noscript><meta name="ac-discovery" content="in noscript"></noscript>
            </head><body><p><div><meta name="ac-discovery" content="c.com https://c/a b &amp; c">"#;
        let want = [
            tag(Images, "a.com", "https://a/{ext}"),
            tag(PublicKeys, "a.com", "https://a/key"),
            tag(Images, "c.com", "https://c/a b & c"),
        ];
        assert_eq!(meta_tags(page.as_bytes()), want);
    }

    // APPC-374
    #[test]
    fn case_10_broken_and_huge_pages_end() {
        let mut huge = vec![b'<'; 9 << 20];
        huge.extend(br#"<meta name="ac-discovery" content="a b">"#);
        let nested = "<script>".repeat(50_000);
        for page in [b"".as_slice(), b"\xff\xfe\0<meta", b"<meta name=", b"<!--", nested.as_bytes(), &huge] {
            assert_eq!(meta_tags(page), []);
        }
    }
}
