//! Which videos planes of the hardware show as they are, and which are copied into their layers.
//!
//! ```text
//!   wholly covered ─► Hidden              covers the screen, alone ─► Primary
//!   nothing over it ─► Over(plane)        something over it ─► Under(plane), seen through a hole
//!                         no plane does it ─► Copied(why)
//! ```
//!
//! Pure: what a device would do is asked of a judge, which asks the kernel or, in tests, makes it up.

use std::fmt;

use heliostat_wire::id::VideoId;

use crate::geometry::Rect;

/// A plane, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaneId(pub u32);

/// How pixels lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// `DRM_FORMAT_*`.
    pub code: u32,
    /// `DRM_FORMAT_MOD_*`.
    pub modifier: u64,
}

/// `DRM_FORMAT_MOD_LINEAR`.
pub const LINEAR: u64 = 0;
/// `DRM_FORMAT_MOD_INVALID`: the driver knows by itself.
pub const UNSAID: u64 = 0x00ff_ffff_ffff_ffff;
/// `DRM_FORMAT_ARGB8888`.
pub const ARGB: u32 = u32::from_le_bytes(*b"AR24");
/// `DRM_FORMAT_NV12`.
pub const NV12: u32 = u32::from_le_bytes(*b"NV12");

/// Where a plane may stand among others (the property `zpos`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heights {
    /// Not said: overlays are over the primary plane and under the cursor.
    Unsaid,
    /// Always there.
    Fixed(u64),
    /// Wherever it is put.
    Range(u64, u64),
}

/// What a plane can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    /// Which.
    pub id: PlaneId,
    /// What it shows.
    pub formats: Vec<Format>,
    /// Where it stands.
    pub heights: Heights,
    /// It can be told that colours are those of BT.709 in limited range.
    pub is_bt709: bool,
}

impl Plane {
    /// Whether it shows buffers of a format.
    pub fn takes(&self, format: Format) -> bool {
        let mut of_code = self.formats.iter().filter(|f| f.code == format.code);
        of_code.any(|f| f.modifier == format.modifier || format.modifier == UNSAID)
    }
}

/// The planes that an output can have now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    /// What is drawn by the processor.
    pub primary: Plane,
    /// Those that show nothing, or something of this output.
    pub overlays: Vec<Plane>,
    /// The pointer's.
    pub cursor: Option<Plane>,
}

/// A part of a picture, in 1/65536 pixel, and where it goes on the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fit {
    /// Left, top, width and height in the picture.
    pub source: [u32; 4],
    /// On the output; maybe in part beside it.
    pub dst: Rect,
}

/// What is over a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// Nothing.
    None,
    /// Something, through which or beside which it is seen.
    Part,
    /// It is not seen.
    Whole,
}

/// A video that is to be seen on an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub video: VideoId,
    /// Its pictures.
    pub format: Format,
    /// The same as the device can make them for planes that do not show those.
    pub converted: Option<Format>,
    /// What of it goes where, if a plane could do that: whole pixels of the output, not turned, not
    /// see-through.
    pub fit: Option<Fit>,
    /// The pixels of the output that it may change.
    pub area: Rect,
    /// What is over it.
    pub cover: Cover,
}

/// Why a video is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The display has no planes.
    NoPlanes,
    /// It is turned, see-through, or ends between pixels.
    NoFit,
    /// Planes that show its format are none, or in use.
    NoneLeft,
    /// The planes that show its format leave open which colours they make of it.
    Colours,
    /// Something is over it, and no plane can be put under what is drawn.
    Covered,
    /// The device refuses.
    Refused,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPlanes => "this display has no planes",
            Self::NoFit => "it is turned, see-through, or ends between pixels",
            Self::NoneLeft => "no free plane shows its format",
            Self::Colours => "no plane can be told to use BT.709 in limited range",
            Self::Covered => "something is over it, and no plane goes under what is drawn",
            Self::Refused => "the graphics driver refuses",
        })
    }
}

/// How a video is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is not seen.
    Hidden,
    /// In place of what is drawn.
    Primary,
    /// Over what is drawn.
    Over(PlaneId),
    /// Under what is drawn, which has a hole there.
    Under(PlaneId),
    /// As pixels of its layer.
    Copied(Why),
}

impl Way {
    /// Whether a plane shows the decoder's own memory.
    pub fn is_plane(self) -> bool {
        matches!(self, Self::Primary | Self::Over(_) | Self::Under(_))
    }

    /// A word for logs and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Primary => "primary",
            Self::Over(_) => "over",
            Self::Under(_) => "under",
            Self::Copied(_) => "copied",
        }
    }
}

/// What the primary plane shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Ground {
    /// What is drawn.
    #[default]
    Drawn,
    /// What is drawn, with alpha.
    Holed,
    /// A video.
    Video,
}

/// A plane that shows a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The plane.
    pub plane: PlaneId,
    /// The video.
    pub video: VideoId,
    /// Its pictures.
    pub format: Format,
    /// What goes where.
    pub fit: Fit,
}

/// What planes show, as a device judges it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The primary plane.
    pub ground: Ground,
    /// Planes with videos.
    pub uses: Vec<Use>,
    /// Where planes stand, as far as they can be put anywhere.
    pub heights: Vec<(PlaneId, u64)>,
}

/// How each video is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// Each that was wanted.
    pub videos: Vec<(VideoId, Way)>,
    /// What planes have to do for that.
    pub layout: Layout,
}

impl Arrangement {
    /// All of them copied, but for those that are not seen.
    pub fn copied(wanted: &[Wanted], why: Why) -> Self {
        let way = |wanted: &Wanted| match wanted.cover {
            Cover::Whole => Way::Hidden,
            _ => Way::Copied(why),
        };
        Self {
            videos: wanted.iter().map(|w| (w.video, way(w))).collect(),
            layout: Layout::default(),
        }
    }

    /// Whether a plane shows a video as RGB that the device makes of it.
    pub fn is_converted(&self, video: VideoId) -> bool {
        let mut uses = self.layout.uses.iter();
        uses.any(|u| u.video == video && u.format.code != NV12)
    }

    /// How a video is shown.
    pub fn way(&self, video: VideoId) -> Option<Way> {
        let mut found = self.videos.iter().filter(|(known, _)| *known == video);
        found.next().map(|(_, way)| *way)
    }
}

/// Questions to the judge for one picture: each costs the driver some microseconds.
const MOST_QUESTIONS: usize = 12;

/// Decides for all videos of an output, the largest first.
pub fn plan(
    bounds: Rect,
    planes: &Planes,
    wanted: &[Wanted],
    judge: &mut dyn FnMut(&Layout) -> bool,
) -> Arrangement {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(wanted[*at].area.area()));
    let mut planner = Planner {
        bounds,
        planes,
        judge,
        left: MOST_QUESTIONS,
        under: Vec::new(),
        layout: Layout::default(),
    };
    let mut ways = vec![Way::Hidden; wanted.len()];
    for at in order {
        ways[at] = planner.place(&wanted[at]);
    }
    if planner.layout.ground == Ground::Video {
        // It covers the whole screen, and nothing is over it.
        let others = ways.iter_mut().filter(|way| **way != Way::Primary);
        others.for_each(|way| *way = Way::Hidden);
    }
    Arrangement {
        videos: wanted.iter().map(|w| w.video).zip(ways).collect(),
        layout: planner.layout,
    }
}

struct Planner<'a> {
    bounds: Rect,
    planes: &'a Planes,
    judge: &'a mut dyn FnMut(&Layout) -> bool,
    left: usize,
    /// Planes under what is drawn, the lowest first.
    under: Vec<PlaneId>,
    layout: Layout,
}

impl Planner<'_> {
    fn place(&mut self, wanted: &Wanted) -> Way {
        if wanted.cover == Cover::Whole || self.layout.ground == Ground::Video {
            return Way::Hidden;
        }
        let Some(fit) = wanted.fit else {
            return Way::Copied(Why::NoFit);
        };
        let (mut asked, mut covered) = (false, false);
        let formats = [Some(wanted.format), wanted.converted];
        let ways = formats.into_iter().flatten().flat_map(|format| {
            let ways = self.options(wanted, format, fit).into_iter();
            ways.map(move |way| (format, way))
        });
        for (format, way) in ways.collect::<Vec<_>>() {
            let Some(layout) = self.with((wanted.video, format), fit, way) else {
                covered = true;
                continue;
            };
            let Some(left) = self.left.checked_sub(1) else {
                return Way::Copied(Why::Refused);
            };
            (self.left, asked) = (left, true);
            if (self.judge)(&layout) {
                if let Way::Under(plane) = way {
                    self.under.push(plane);
                }
                self.layout = layout;
                return way;
            }
        }
        Way::Copied(match (asked, covered) {
            (true, _) => Why::Refused,
            (false, true) => Why::Covered,
            (false, false) => self.lack(wanted.format),
        })
    }

    fn options(&self, wanted: &Wanted, format: Format, fit: Fit) -> Vec<Way> {
        let free = |plane: &&Plane| {
            let is_used = self.layout.uses.iter().any(|u| u.plane == plane.id);
            // What is RGB already has the colours that it has.
            let is_right = plane.is_bt709 || format.code != NV12;
            plane.takes(format) && is_right && !is_used
        };
        let primary = Some(&self.planes.primary).filter(free);
        let fills = fit.dst.contains(self.bounds) && wanted.cover == Cover::None;
        let primary = primary.filter(|_| fills && self.layout.uses.is_empty());
        let overlays = || self.planes.overlays.iter().filter(free).map(|p| p.id);
        let over = overlays().filter(|_| wanted.cover == Cover::None);
        primary
            .map(|_| Way::Primary)
            .into_iter()
            .chain(over.map(Way::Over))
            .chain(overlays().map(Way::Under))
            .collect()
    }

    /// The layout with one more video, if planes can stand so.
    fn with(&self, (video, format): (VideoId, Format), fit: Fit, way: Way) -> Option<Layout> {
        let mut layout = self.layout.clone();
        let plane = match way {
            Way::Over(plane) | Way::Under(plane) => plane,
            _ => {
                layout.ground = Ground::Video;
                self.planes.primary.id
            }
        };
        layout.uses.push(Use {
            plane,
            video,
            format,
            fit,
        });
        let mut under = self.under.clone();
        if let Way::Under(plane) = way {
            let drawn = Format {
                code: ARGB,
                modifier: LINEAR,
            };
            // Through the hole of one the other would be seen.
            let overlaps = |u: &Use| {
                self.under.contains(&u.plane) && u.fit.dst.intersection(fit.dst).is_some()
            };
            if !self.planes.primary.takes(drawn) || self.layout.uses.iter().any(overlaps) {
                return None;
            }
            under.push(plane);
            layout.ground = Ground::Holed;
        }
        layout.heights = self.stand(&under, &layout)?;
        Some(layout)
    }

    /// Where planes stand: `under`, the primary one, the others, the cursor.
    fn stand(&self, under: &[PlaneId], layout: &Layout) -> Option<Vec<(PlaneId, u64)>> {
        let find = |id: &PlaneId| self.planes.overlays.iter().find(|p| p.id == *id);
        let used = layout.uses.iter().map(|u| u.plane);
        let over = used.filter(|id| !under.contains(id) && *id != self.planes.primary.id);
        let over: Vec<PlaneId> = over.collect();
        let mut stack: Vec<&Plane> = under.iter().filter_map(find).collect();
        stack.push(&self.planes.primary);
        stack.extend(over.iter().filter_map(find));
        if !under.is_empty() && stack.iter().any(|plane| plane.heights == Heights::Unsaid) {
            return None;
        }
        stack.extend(&self.planes.cursor);
        let (mut heights, mut above) = (Vec::new(), 0);
        for plane in stack {
            let height = match plane.heights {
                Heights::Fixed(height) => height,
                Heights::Range(least, most) => {
                    let height = least.max(above);
                    if height > most {
                        return None;
                    }
                    heights.push((plane.id, height));
                    height
                }
                Heights::Unsaid => continue,
            };
            if height < above {
                return None;
            }
            above = height + 1;
        }
        Some(heights)
    }

    fn lack(&self, format: Format) -> Why {
        let all = self.planes.overlays.iter().chain([&self.planes.primary]);
        let mut of_format = all.filter(|plane| plane.takes(format)).peekable();
        match of_format.peek().is_some() && !of_format.any(|plane| plane.is_bt709) {
            true => Why::Colours,
            false => Why::NoneLeft,
        }
    }
}

#[cfg(test)]
#[path = "planes_tests.rs"]
mod tests;
