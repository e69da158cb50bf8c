//! Where pictures are shown: real screens, a window, or a file.

pub mod headless;
pub mod kms;
pub mod png_file;
pub mod stuck;
pub mod window;

use std::time::Duration;

use heliostat_va::decoder::Frame;
use heliostat_wire::id::{OutputId, VideoId};
use heliostat_wire::output::{Outputs, Size};

use crate::compose::Target;
use crate::cursor::CursorImage;
use crate::geometry::{Damage, Rect};
use crate::planes::{Arrangement, Layout, PlaneId, Use, Wanted, Why};
use crate::video::hardware::{first_node, node_of};

use self::stuck::Stuck;

/// What a picture on the screen shows; told to whoever watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caption {
    /// Serial of the newest frame in it; 0 for the terminal's own screens.
    pub serial: u32,
    /// Serial of the last input whose effects it may show.
    pub last_input: u32,
    /// The attach; 0 for none.
    pub attach: u64,
}

/// A picture that has been scanned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// On which output.
    pub output: OutputId,
    /// What it shows.
    pub caption: Caption,
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
}

/// Finds the newest picture of a video that a plane is to show, in the format that it is planned in.
pub type Find<'a> = &'a dyn Fn(&Use) -> Option<Frame>;

/// Videos of a picture that planes are to show.
pub struct Films<'a> {
    /// What planes have to do.
    pub layout: &'a Layout,
    /// The newest picture of each video, in the format that its plane is to show.
    pub frame: Find<'a>,
}

/// A plane that shows a surface of the decoder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnPlane {
    /// The plane.
    pub plane: PlaneId,
    /// The video.
    pub video: VideoId,
    /// The kernel's number of the framebuffer.
    pub framebuffer: u32,
    /// Inode of the DMA-BUF that the kernel scans out.
    pub inode: u64,
}

/// Draws part of a picture.
pub type Paint<'a> = dyn FnMut(Rect, &mut Target<'_>) + 'a;

/// The back ends.
pub enum Display {
    /// A file in memory.
    Headless(headless::Headless),
    /// Kernel mode setting.
    Kms(kms::Kms),
    /// A window on somebody's desktop.
    Window(window::Window),
}

impl Display {
    /// The node whose device decodes videos best for this display.
    pub fn render_node(&self) -> Option<std::path::PathBuf> {
        let beside = match self {
            Self::Kms(kms) => node_of(kms.path()),
            Self::Headless(_) | Self::Window(_) => None,
        };
        beside.or_else(first_node)
    }

    /// The screens of now.
    pub fn outputs(&self) -> Outputs {
        match self {
            Self::Headless(headless) => headless.outputs(),
            Self::Kms(kms) => kms.outputs(),
            Self::Window(window) => window.outputs(),
        }
    }

    /// Whether a new picture may be drawn for an output now.
    pub fn is_free(&self, output: OutputId) -> bool {
        match self {
            Self::Headless(_) | Self::Window(_) => true,
            Self::Kms(kms) => kms.is_free(output),
        }
    }

    /// Whether no picture is on its way to an output.
    pub fn is_settled(&self, output: OutputId) -> bool {
        match self {
            Self::Headless(_) | Self::Window(_) => true,
            Self::Kms(kms) => kms.is_settled(output),
        }
    }

    /// Decides how videos are shown on an output; `frame` has their pictures.
    pub fn arrange(&mut self, output: OutputId, wanted: &[Wanted], frame: Find<'_>) -> Arrangement {
        match self {
            Self::Kms(kms) if !wanted.is_empty() => kms.arrange(output, wanted, frame),
            Self::Headless(headless) => headless.arrange(wanted),
            Self::Kms(_) | Self::Window(_) => Arrangement::copied(wanted, Why::NoPlanes),
        }
    }

    /// A layout was allowed and failed when it was to be shown: it is not tried again.
    pub fn distrust(&mut self, output: OutputId, layout: &Layout) {
        match self {
            Self::Kms(kms) => kms.distrust(output, layout),
            Self::Headless(headless) => headless.distrust(layout),
            Self::Window(_) => {}
        }
    }

    /// Whether the output's planes show videos, or are about to.
    pub fn shows_films(&self, output: OutputId) -> bool {
        match self {
            Self::Window(_) => false,
            Self::Headless(headless) => !headless.on_planes().is_empty(),
            Self::Kms(kms) => kms.shows_films(output),
        }
    }

    /// What the output's planes show, or are about to.
    pub fn on_planes(&self, output: OutputId) -> Vec<OnPlane> {
        match self {
            Self::Window(_) => Vec::new(),
            Self::Headless(headless) => headless.on_planes(),
            Self::Kms(kms) => kms.on_planes(output),
        }
    }

    /// Draws what is damaged and shows it, together with what planes show in place of what they did;
    /// [`Display::take_shown`] says when that has happened.
    pub fn present(
        &mut self,
        output: OutputId,
        damage: &Damage,
        films: &Films<'_>,
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Headless(headless) => headless.present(damage, films, caption, paint),
            Self::Kms(kms) => kms.present(output, damage, films, caption, paint),
            Self::Window(window) => window.present(damage, caption, paint),
        }
    }

    /// Pictures cannot be shown: shows none, rather than what was there before. Whoever watches sees
    /// black until the next one that works.
    pub fn darken(&mut self, output: OutputId) -> anyhow::Result<()> {
        match self {
            Self::Headless(headless) => headless.darken(),
            Self::Kms(kms) => return kms.darken(output),
            Self::Window(window) => return window.darken(),
        }
        Ok(())
    }

    /// Adds pictures that have been scanned out since the last call.
    pub fn take_shown(&mut self, all: &mut Vec<Shown>) {
        all.append(match self {
            Self::Headless(headless) => headless.shown(),
            Self::Kms(kms) => kms.shown(),
            Self::Window(window) => window.shown(),
        });
    }

    /// How long until a screen has to be looked after that has not said what it shows.
    pub fn event_left(&self, now_ns: u64) -> Option<Duration> {
        match self {
            Self::Kms(kms) => kms.event_left(now_ns),
            Self::Headless(_) | Self::Window(_) => None,
        }
    }

    /// Looks after such screens. Whether there are any.
    pub fn mind_overdue(&mut self, now_ns: u64) -> bool {
        match self {
            Self::Kms(kms) => kms.mind_overdue(now_ns),
            #[cfg(test)]
            Self::Headless(headless) => !headless.stuck.is_empty(),
            #[cfg(not(test))]
            Self::Headless(_) => false,
            Self::Window(_) => false,
        }
    }

    /// Screens that say nothing and take nothing.
    pub fn stuck(&self) -> Vec<Stuck> {
        match self {
            Self::Kms(kms) => kms.stuck(),
            #[cfg(test)]
            Self::Headless(headless) => headless.stuck.clone(),
            #[cfg(not(test))]
            Self::Headless(_) => Vec::new(),
            Self::Window(_) => Vec::new(),
        }
    }

    /// Whether pointer images of this size are drawn by the display itself. Otherwise they are a
    /// part of the picture.
    pub fn draws_cursor(&self, output: OutputId, size: Size) -> bool {
        match self {
            // A hardware cursor is no part of a picture either.
            Self::Headless(headless) => headless.draws_cursor(size),
            Self::Kms(kms) => kms.draws_cursor(output, size),
            Self::Window(_) => false,
        }
    }

    /// Shows `image` with its hotspot at a place, or nothing.
    pub fn set_cursor(&mut self, output: OutputId, image: Option<&CursorImage>, at: (i32, i32)) {
        if let Self::Kms(kms) = self {
            kms.set_cursor(output, image, at);
        }
    }

    /// Writes what an output shows to a PNG file.
    pub fn screenshot(&mut self, path: &std::path::Path) -> anyhow::Result<()> {
        match self {
            Self::Headless(headless) => headless.screenshot(path),
            Self::Window(window) => window.screenshot(path),
            Self::Kms(_) => anyhow::bail!("a screen of this kind writes no screenshots"),
        }
    }
}
