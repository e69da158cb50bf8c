//! `docs/protocol-messages.md` is written from the schema, so that it cannot go stale.
//!
//! `BLESS_DOCS=1 cargo test -p heliostat-wire` writes it.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use heliostat_wire::{control, limits, scene, session};
use postcard_schema::Schema;
use postcard_schema::schema::owned::{
    OwnedDataModelType, OwnedDataModelVariant, OwnedNamedType, OwnedNamedValue,
};

/// Writes the types that `roots` reach, each once, in the order in which they are met.
struct Document {
    text: String,
    seen: HashSet<String>,
}

impl Document {
    fn define(&mut self, named: &OwnedNamedType, title: &str) {
        if !self.seen.insert(title.to_owned()) {
            return;
        }
        let mut nested = Vec::new();
        match &named.ty {
            OwnedDataModelType::Enum(variants) => {
                writeln!(self.text, "\n### {title}: one of\n\n```text").unwrap();
                for (number, variant) in variants.iter().enumerate() {
                    let fields = variant_fields(&variant.ty, &mut nested);
                    writeln!(self.text, "{number:2}  {}{fields}", variant.name).unwrap();
                }
            }
            OwnedDataModelType::Struct(fields) => {
                writeln!(self.text, "\n### {title}: in order\n\n```text").unwrap();
                for field in fields {
                    let ty = reference(&field.ty, &mut nested);
                    writeln!(self.text, "{}: {ty}", field.name).unwrap();
                }
            }
            OwnedDataModelType::NewtypeStruct(inner) => {
                let inner = reference(inner, &mut nested);
                writeln!(self.text, "\n### {title}: as\n\n```text\n{inner}").unwrap();
            }
            other => panic!("{title} is a {other:?}, which this document cannot show"),
        }
        self.text.push_str("```\n");
        for inner in nested {
            self.define(&inner, &inner.name);
        }
    }
}

fn variant_fields(variant: &OwnedDataModelVariant, nested: &mut Vec<OwnedNamedType>) -> String {
    let named = |fields: &[OwnedNamedValue], nested: &mut Vec<OwnedNamedType>| {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| format!("{}: {}", field.name, reference(&field.ty, nested)))
            .collect();
        format!(" {{ {} }}", fields.join(", "))
    };
    match variant {
        OwnedDataModelVariant::UnitVariant => String::new(),
        OwnedDataModelVariant::NewtypeVariant(inner) => format!(" {}", reference(inner, nested)),
        OwnedDataModelVariant::TupleVariant(items) => {
            let items: Vec<_> = items.iter().map(|item| reference(item, nested)).collect();
            format!(" ({})", items.join(", "))
        }
        OwnedDataModelVariant::StructVariant(fields) => named(fields, nested),
    }
}

/// A type as it is named inside another; types with a definition of their own join `nested`.
fn reference(named: &OwnedNamedType, nested: &mut Vec<OwnedNamedType>) -> String {
    match &named.ty {
        OwnedDataModelType::Seq(item) => format!("list of {}", reference(item, nested)),
        OwnedDataModelType::Option(inner) => format!("optional {}", reference(inner, nested)),
        OwnedDataModelType::Tuple(items) => {
            let first = reference(&items[0], nested);
            if items.len() > 2 {
                return format!("{} × {first}", items.len());
            }
            let items: Vec<_> = items.iter().map(|item| reference(item, nested)).collect();
            format!("({})", items.join(", "))
        }
        OwnedDataModelType::String => "text".to_owned(),
        OwnedDataModelType::Struct(_)
        | OwnedDataModelType::Enum(_)
        | OwnedDataModelType::NewtypeStruct(_) => {
            nested.push(named.clone());
            named.name.clone()
        }
        _ => named.name.clone(),
    }
}

fn limits_table() -> String {
    let rows: [(&str, usize); 24] = [
        ("bytes of a message", limits::MAX_MESSAGE),
        ("bytes of a frame header", limits::MAX_FRAME_HEADER),
        (
            "bytes of a frame behind its header (access units and tile batch)",
            limits::MAX_FRAME_CONTENT,
        ),
        ("operations of a frame", limits::MAX_SCENE_OPS),
        (
            "layers at once, and layers of a `Stack`",
            limits::MAX_LAYERS,
        ),
        ("rectangles of a `SetOpaque`", limits::MAX_OPAQUE_RECTS),
        (
            "side of a layer, in pixels",
            limits::MAX_LAYER_SIDE as usize,
        ),
        (
            "side of a cursor, in pixels",
            limits::MAX_CURSOR_SIDE as usize,
        ),
        ("cursors at once", limits::MAX_CURSORS),
        ("videos at once", limits::MAX_VIDEOS),
        ("bytes of an access unit", limits::MAX_VIDEO_UNIT),
        ("outputs of a terminal", limits::MAX_OUTPUTS),
        ("cells of a `Cells`", limits::MAX_CELL_HASHES),
        (
            "seconds that a terminal keeps pixels",
            limits::MAX_KEEP_S as usize,
        ),
        ("events of an input batch", limits::MAX_INPUT_EVENTS),
        ("keys held down", limits::MAX_PRESSED),
        ("addresses of an attach", limits::MAX_ADDRESSES),
        ("stages of a receipt", limits::MAX_RECEIPT_STAGES),
        ("bytes of a name", limits::MAX_NAME),
        ("bytes of a sentence for people", limits::MAX_SENTENCE),
        ("bytes of a card id", limits::MAX_CARD_ID),
        ("bytes of an answer-to-reset", limits::MAX_ATR),
        ("bytes of a proof's signature", limits::MAX_SIGNATURE),
        ("bytes of a certificate", limits::MAX_CERTIFICATE),
    ];
    let mut table = String::from("| limit | value |\n|---|---|\n");
    for (what, value) in rows {
        writeln!(table, "| {what} | {value} |").unwrap();
    }
    table
}

fn document() -> String {
    let mut document = Document {
        text: String::from(
            "# Messages of the wire, version 1\n\n\
             Written from the schema by a test of `protocol/wire`; do not edit.\n\
             How these are encoded and what they mean is in [PROTOCOL.md](PROTOCOL.md).\n\n\
             ## Limits\n\n",
        ),
        seen: HashSet::new(),
    };
    document.text.push_str(&limits_table());
    let roots: [(&str, &str, OwnedNamedType); 5] = [
        (
            "Control link, terminal to broker",
            "ToBroker",
            control::ToBroker::SCHEMA.into(),
        ),
        (
            "Control link, broker to terminal",
            "ToTerminal (control)",
            control::ToTerminal::SCHEMA.into(),
        ),
        (
            "Session link, terminal to session",
            "ToSession",
            session::ToSession::SCHEMA.into(),
        ),
        (
            "Session link, session to terminal",
            "ToTerminal (session)",
            session::ToTerminal::SCHEMA.into(),
        ),
        (
            "Session link, frame streams",
            "FrameHeader",
            scene::FrameHeader::SCHEMA.into(),
        ),
    ];
    for (chapter, title, root) in roots {
        writeln!(document.text, "\n## {chapter}").unwrap();
        document.define(&root, title);
    }
    document.text
}

#[test]
fn document_of_the_messages_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-messages.md");
    let current = document();
    if std::env::var_os("BLESS_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "stale: run BLESS_DOCS=1 cargo test -p heliostat-wire"
    );
}
