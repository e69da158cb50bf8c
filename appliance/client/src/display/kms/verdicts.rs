//! What the driver said of layouts, so that it is asked once.

use std::collections::VecDeque;

use heliostat_wire::id::OutputId;

use crate::planes::{Fit, Format, Ground, Layout, PlaneId};

/// Layouts that are remembered; a window that is moved makes many.
const MOST: usize = 64;

/// A layout without whose videos it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    output: OutputId,
    ground: Ground,
    uses: Vec<(PlaneId, Format, Fit, (u32, u32))>,
    heights: Vec<(PlaneId, u64)>,
}

/// Answers so far.
#[derive(Debug, Default)]
pub struct Verdicts(VecDeque<(Key, bool)>);

impl Verdicts {
    /// Whether a layout with pictures of these sizes is allowed, by memory or by asking.
    pub fn judge(
        &mut self,
        output: OutputId,
        layout: &Layout,
        sizes: &[(u32, u32)],
        ask: impl FnOnce() -> bool,
    ) -> bool {
        let key = key(output, layout, sizes);
        if let Some((_, answer)) = self.0.iter().find(|(known, _)| *known == key) {
            return *answer;
        }
        let answer = ask();
        self.remember(key, answer);
        answer
    }

    /// It was allowed and failed nevertheless.
    pub fn refuse(&mut self, output: OutputId, layout: &Layout) {
        let sizeless = |key: &Key| Key {
            uses: key.uses.iter().map(|u| (u.0, u.1, u.2, (0, 0))).collect(),
            ..key.clone()
        };
        let refused = key(output, layout, &vec![(0, 0); layout.uses.len()]);
        let same = self
            .0
            .iter_mut()
            .filter(|(known, _)| sizeless(known) == refused);
        same.for_each(|(_, answer)| *answer = false);
    }

    /// Screens came, went or changed.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    fn remember(&mut self, key: Key, answer: bool) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((key, answer));
    }
}

fn key(output: OutputId, layout: &Layout, sizes: &[(u32, u32)]) -> Key {
    let uses = layout.uses.iter().zip(sizes);
    Key {
        output,
        ground: layout.ground,
        uses: uses
            .map(|(u, size)| (u.plane, u.format, u.fit, *size))
            .collect(),
        heights: layout.heights.clone(),
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::id::VideoId;

    use super::*;
    use crate::geometry::Rect;
    use crate::planes::{LINEAR, NV12, Use};

    fn layout(video: u32, x: i32) -> Layout {
        let dst = Rect {
            x,
            y: 0,
            w: 8,
            h: 8,
        };
        Layout {
            uses: vec![Use {
                plane: PlaneId(1),
                video: VideoId(video),
                format: Format {
                    code: NV12,
                    modifier: LINEAR,
                },
                fit: Fit {
                    source: [0; 4],
                    dst,
                },
            }],
            ..Layout::default()
        }
    }

    #[test]
    fn driver_is_asked_once_for_each_layout_and_not_for_each_video() {
        let mut verdicts = Verdicts::default();
        let out = OutputId(0);
        let mut asked = 0;
        let mut judge = |verdicts: &mut Verdicts, layout: Layout, size, answer| {
            verdicts.judge(out, &layout, &[size], || {
                asked += 1;
                answer
            })
        };
        assert!(judge(&mut verdicts, layout(1, 5), (8, 8), true));
        assert!(judge(&mut verdicts, layout(2, 5), (8, 8), false));
        assert!(!judge(&mut verdicts, layout(2, 6), (8, 8), false));
        assert!(!judge(&mut verdicts, layout(2, 5), (16, 8), false));
        verdicts.refuse(out, &layout(3, 5));
        assert!(!judge(&mut verdicts, layout(1, 5), (8, 8), true));
        for x in 100..100 + MOST as i32 {
            judge(&mut verdicts, layout(1, x), (8, 8), true);
        }
        assert!(verdicts.0.len() <= MOST);
        assert!(judge(&mut verdicts, layout(1, 5), (8, 8), true));
        assert_eq!(asked, 3 + MOST + 1);
    }
}
