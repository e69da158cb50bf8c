//! The Wayland protocols that clients may speak, one file each where there is something to decide.

mod activation;
mod compositor;
mod constraints;
mod decoration;
#[cfg(feature = "gpu")]
mod dmabuf;
#[cfg(feature = "gpu")]
mod fences;
mod foreign_toplevel;
mod idle;
mod layer_shell;
mod limits;
#[cfg(feature = "gpu")]
mod planes;
mod seat;
mod selection;
mod session_lock;
mod shm;
mod small;
mod subsurfaces;
#[cfg(feature = "gpu")]
mod syncobj;
mod xdg_shell;

use smithay::reexports::wayland_server::DisplayHandle;
use smithay::wayland::compositor::CompositorState;
use smithay::wayland::content_type::ContentTypeState;
use smithay::wayland::cursor_shape::CursorShapeManagerState;
use smithay::wayland::fractional_scale::FractionalScaleManagerState;
use smithay::wayland::idle_inhibit::IdleInhibitManagerState;
use smithay::wayland::output::OutputManagerState;
use smithay::wayland::pointer_constraints::PointerConstraintsState;
use smithay::wayland::presentation::PresentationState;
use smithay::wayland::relative_pointer::RelativePointerManagerState;
use smithay::wayland::selection::data_device::DataDeviceState;
use smithay::wayland::selection::primary_selection::PrimarySelectionState;
use smithay::wayland::selection::wlr_data_control::DataControlState;
use smithay::wayland::session_lock::SessionLockManagerState;
use smithay::wayland::shell::wlr_layer::WlrLayerShellState;
use smithay::wayland::shell::xdg::XdgShellState;
use smithay::wayland::shell::xdg::decoration::XdgDecorationState;
use smithay::wayland::shm::ShmState;
use smithay::wayland::single_pixel_buffer::SinglePixelBufferState;
use smithay::wayland::text_input::TextInputManagerState;
use smithay::wayland::viewporter::ViewporterState;
use smithay::wayland::xdg_activation::XdgActivationState;
use smithay::wayland::xwayland_shell::XWaylandShellState;

#[cfg(feature = "gpu")]
pub(crate) use fences::Fences;
pub use foreign_toplevel::Lists;
pub use selection::Offered;
pub use session_lock::Lock;

use crate::app::App;
use crate::gpu::Gpu;

/// The state that each protocol keeps.
#[derive(Debug)]
pub struct Protocols {
    pub(crate) compositor: CompositorState,
    pub(crate) shm: ShmState,
    pub(crate) xdg_shell: XdgShellState,
    pub(crate) layer_shell: WlrLayerShellState,
    pub(crate) data_device: DataDeviceState,
    pub(crate) primary_selection: PrimarySelectionState,
    pub(crate) activation: XdgActivationState,
    pub(crate) data_control: DataControlState,
    pub(crate) xwayland_shell: XWaylandShellState,
    pub(crate) session_lock: SessionLockManagerState,
    #[cfg(feature = "gpu")]
    pub(crate) dmabuf: dmabuf::Dmabufs,
    #[cfg(feature = "gpu")]
    planes: planes::Planes,
    #[cfg(feature = "gpu")]
    pub(crate) syncobj: syncobj::Syncobj,
    /// Those that need no looking after.
    _others: Others,
}

#[derive(Debug)]
struct Others {
    _decoration: XdgDecorationState,
    _outputs: OutputManagerState,
    _viewporter: ViewporterState,
    _fractional_scale: FractionalScaleManagerState,
    _presentation: PresentationState,
    _cursor_shape: CursorShapeManagerState,
    _single_pixel: SinglePixelBufferState,
    _content_type: ContentTypeState,
    _relative_pointer: RelativePointerManagerState,
    _constraints: PointerConstraintsState,
    _text_input: TextInputManagerState,
    _idle_inhibit: IdleInhibitManagerState,
}

/// CLOCK_MONOTONIC.
const CLOCK: u32 = 1;

impl Protocols {
    /// Announces all of them.
    #[cfg_attr(
        not(feature = "gpu"),
        expect(unused_variables, reason = "there is no device")
    )]
    pub fn new(handle: &DisplayHandle, gpu: &Gpu) -> Self {
        let primary_selection = PrimarySelectionState::new::<App>(handle);
        foreign_toplevel::announce(handle);
        Self {
            compositor: CompositorState::new_v6::<App>(handle),
            shm: ShmState::new::<App>(handle, []),
            #[cfg(feature = "gpu")]
            dmabuf: dmabuf::Dmabufs::announce(handle, gpu),
            #[cfg(feature = "gpu")]
            planes: planes::Planes::default(),
            #[cfg(feature = "gpu")]
            syncobj: syncobj::Syncobj::announce(handle, gpu),
            xdg_shell: XdgShellState::new::<App>(handle),
            layer_shell: WlrLayerShellState::new::<App>(handle),
            data_device: DataDeviceState::new::<App>(handle),
            data_control: DataControlState::new::<App, _>(handle, Some(&primary_selection), |_| {
                true
            }),
            primary_selection,
            session_lock: SessionLockManagerState::new::<App, _>(handle, |_| true),
            xwayland_shell: XWaylandShellState::new::<App>(handle),
            activation: XdgActivationState::new::<App>(handle),
            _others: Others {
                _decoration: XdgDecorationState::new::<App>(handle),
                _outputs: OutputManagerState::new_with_xdg_output::<App>(handle),
                _viewporter: ViewporterState::new::<App>(handle),
                _fractional_scale: FractionalScaleManagerState::new::<App>(handle),
                _presentation: PresentationState::new::<App>(handle, CLOCK),
                _cursor_shape: CursorShapeManagerState::new::<App>(handle),
                _single_pixel: SinglePixelBufferState::new::<App>(handle),
                _content_type: ContentTypeState::new::<App>(handle),
                _relative_pointer: RelativePointerManagerState::new::<App>(handle),
                _constraints: PointerConstraintsState::new::<App>(handle),
                _text_input: TextInputManagerState::new::<App>(handle),
                _idle_inhibit: IdleInhibitManagerState::new::<App>(handle),
            },
        }
    }
}
