//! One frame from the bytes of its stream, however they are cut.

use heliostat_wire::codec;
use heliostat_wire::limits::{MAX_FRAME_CONTENT, MAX_FRAME_HEADER};
use heliostat_wire::scene::{FrameHeader, STREAM_FRAME};

use super::content::Spare;
use super::{Content, Frame};
use crate::error::LinkError;

/// Room made in a buffer at once.
const STEP: usize = 16 << 10;
/// Bytes of content from which a buffer that others had is worth having.
const LARGE: usize = 64 << 10;

/// Takes bytes into [`Parser::space`] and counts them with [`Parser::advance`].
#[derive(Debug)]
pub(super) struct Parser {
    part: Part,
    /// The part being read: `filled` bytes of it, then room.
    buffer: Content,
    filled: usize,
    /// The buffer is one that comes back.
    is_settled: bool,
}

/// ```text
/// Kind ─► Length ─► Header ─► Content ─► end of the stream
/// ```
#[derive(Debug)]
enum Part {
    Kind,
    Length,
    Header { length: usize },
    Content { header: FrameHeader },
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            part: Part::Kind,
            buffer: Content::default(),
            filled: 0,
            is_settled: false,
        }
    }
}

impl Parser {
    /// Whether so much has come of the frame that is due that a buffer that others had is worth
    /// having. Frames before their turn get none: they wait for as long as the peer likes, and hold
    /// no more than what came of them.
    pub(super) fn is_large(&self, due: u32) -> bool {
        let is_due = matches!(&self.part, Part::Content { header } if header.serial == due);
        is_due && !self.is_settled && self.filled >= LARGE
    }

    /// Goes on in a buffer that comes back to `spare`.
    pub(super) fn settle(&mut self, spare: &Spare) {
        self.is_settled = true;
        let begun = std::mem::take(&mut self.buffer);
        self.buffer = spare.adopt(begun, self.filled);
    }

    /// Where the next bytes go; never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let end = match &self.part {
            Part::Kind => 1,
            Part::Length => self.filled + 1,
            Part::Header { length } => *length,
            Part::Content { .. } => self.filled + STEP.max(self.filled / 2),
        };
        let buffer = &mut self.buffer.bytes;
        if buffer.len() < end {
            buffer.resize(end, 0);
        }
        &mut buffer[self.filled..end]
    }

    /// Counts bytes that were put into the space.
    pub(super) fn advance(&mut self, read: usize) -> Result<(), LinkError> {
        self.filled += read;
        if let Part::Content { .. } = &self.part {
            return match self.filled > MAX_FRAME_CONTENT {
                true => Err(LinkError::Protocol("a frame is too long")),
                false => Ok(()),
            };
        }
        // An empty header needs no further bytes to be whole.
        while let Some(next) = self.next_part()? {
            self.part = next;
            self.filled = 0;
        }
        Ok(())
    }

    /// What follows the part that is whole.
    fn next_part(&self) -> Result<Option<Part>, LinkError> {
        let bytes = &self.buffer[..self.filled];
        match (&self.part, bytes) {
            (Part::Kind, [STREAM_FRAME]) => Ok(Some(Part::Length)),
            (Part::Kind, [_, ..]) => Err(LinkError::Protocol("a stream of unknown kind")),
            (Part::Length, field) => {
                let range = codec::body_range(field, MAX_FRAME_HEADER)?;
                Ok(range.map(|range| Part::Header {
                    length: range.len(),
                }))
            }
            (Part::Header { length }, header) if header.len() == *length => {
                let header = codec::decode(header)?;
                Ok(Some(Part::Content { header }))
            }
            _ => Ok(None),
        }
    }

    /// Whether this is a frame before its turn.
    pub(super) fn is_early(&self, due: u32) -> bool {
        matches!(&self.part, Part::Content { header } if header.serial != due)
    }

    /// Bytes of content read before their turn.
    pub(super) fn early_bytes(&self, due: u32) -> usize {
        match self.is_early(due) {
            true => self.filled,
            false => 0,
        }
    }

    /// The frame, at the end of its stream.
    pub(super) fn finish(mut self) -> Result<Frame, LinkError> {
        self.buffer.bytes.truncate(self.filled);
        match self.part {
            Part::Content { header } => Ok(Frame {
                header,
                content: self.buffer,
            }),
            _ => Err(LinkError::Protocol("a frame ended early")),
        }
    }
}

/// The frame whose stream would have been these bytes.
pub(super) fn whole(mut bytes: &[u8]) -> Result<Frame, LinkError> {
    let mut parser = Parser::default();
    while !bytes.is_empty() {
        let space = parser.space();
        let (piece, rest) = bytes.split_at(bytes.len().min(space.len()));
        space[..piece.len()].copy_from_slice(piece);
        parser.advance(piece.len())?;
        bytes = rest;
    }
    parser.finish()
}

#[cfg(test)]
mod tests {
    use heliostat_wire::List;
    use heliostat_wire::scene::SceneOp;
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces of at most the sizes in `cuts`, over and over. From so many bytes of
    /// content on it has a buffer of `spare`.
    fn parse(
        bytes: &[u8],
        cuts: &[usize],
        (spare, settled): (&Spare, usize),
    ) -> Result<Frame, LinkError> {
        let mut parser = Parser::default();
        let mut rest = bytes;
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let space = parser.space();
            assert!(!space.is_empty());
            let cut = *cuts.next().unwrap();
            let (piece, later) = rest.split_at(cut.min(space.len()).min(rest.len()));
            space[..piece.len()].copy_from_slice(piece);
            parser.advance(piece.len())?;
            let is_content = matches!(parser.part, Part::Content { .. });
            if is_content && !parser.is_settled && parser.filled >= settled {
                parser.settle(spare);
            }
            rest = later;
        }
        parser.finish()
    }

    fn frame_bytes(header: &FrameHeader, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![STREAM_FRAME];
        codec::encode_frame_header(header, &mut bytes).unwrap();
        bytes.extend_from_slice(content);
        bytes
    }

    proptest! {
        #[test]
        fn a_frame_is_the_same_however_its_bytes_were_cut_and_whatever_the_buffer_held(
            serial in any::<u32>(),
            ops in 0usize..40,
            content in proptest::collection::vec(any::<u8>(), 0..60_000),
            cuts in proptest::collection::vec(1usize..5_000, 1..20),
            mut stale in proptest::collection::vec(any::<u8>(), 0..70_000),
            room in 0usize..100_000,
            settled in 0usize..60_000,
        ) {
            let header = FrameHeader {
                serial,
                last_input: serial / 2, overtakes: 0,
                ops: List::truncated(vec![SceneOp::Clear; ops]),
            };
            let bytes = frame_bytes(&header, &content);
            let spare = Spare::default();
            stale.reserve(room);
            drop(spare.adopt(stale.into(), 0));
            let frame = parse(&bytes, &cuts, (&spare, settled)).unwrap();
            prop_assert_eq!(frame, Frame { header, content: content.into() });
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            as_frame in any::<bool>(),
            cuts in proptest::collection::vec(1usize..50, 1..5),
        ) {
            if as_frame && bytes.len() > 5 {
                bytes[0] = STREAM_FRAME;
                bytes[1] &= 0x7f;
            }
            let _ = parse(&bytes, &cuts, (&Spare::default(), 0));
        }
    }

    #[test]
    fn content_above_the_limit_is_refused_as_it_comes() {
        let header = FrameHeader {
            serial: 1,
            last_input: 0,
            overtakes: 0,
            ops: List::default(),
        };
        let mut parser = Parser::default();
        for byte in frame_bytes(&header, &[]) {
            parser.space()[0] = byte;
            parser.advance(1).unwrap();
        }
        let refused = loop {
            let room = parser.space().len();
            if let Err(error) = parser.advance(room) {
                break error;
            }
        };
        assert_eq!(refused, LinkError::Protocol("a frame is too long"));
        assert!(parser.filled < 2 * MAX_FRAME_CONTENT);
    }
}
