//! Every entry point can be made to fail, once, and nothing else does.

use heliostat_drv_video::sys::plain::zeroed;
use heliostat_drv_video::va::{self, config_attrib, entrypoint, fourcc, profile, status};

use crate::alone::{Alone, alone};
use crate::client::{Decoder, Encoder, SIZE, convert, converter, draw, look};
use crate::sys::{Answer, Va, set_environment};

/// Entry points that a client reaches.
const ALL: [&str; 32] = [
    "vaQueryConfigProfiles",
    "vaQueryConfigEntrypoints",
    "vaGetConfigAttributes",
    "vaCreateConfig",
    "vaDestroyConfig",
    "vaQueryConfigAttributes",
    "vaDestroySurfaces",
    "vaCreateContext",
    "vaDestroyContext",
    "vaCreateBuffer",
    "vaBufferSetNumElements",
    "vaMapBuffer",
    "vaUnmapBuffer",
    "vaDestroyBuffer",
    "vaBeginPicture",
    "vaRenderPicture",
    "vaEndPicture",
    "vaSyncSurface",
    "vaQuerySurfaceStatus",
    "vaQueryImageFormats",
    "vaCreateImage",
    "vaDeriveImage",
    "vaDestroyImage",
    "vaGetImage",
    "vaPutImage",
    "vaCreateSurfaces2",
    "vaQuerySurfaceAttributes",
    "vaExportSurfaceHandle",
    "vaSyncSurface2",
    "vaSyncBuffer",
    "vaQueryVideoProcFilters",
    "vaQueryVideoProcPipelineCaps",
];

/// Everything that a client may do, up to the first failure.
fn everything(va: &Va) -> Answer {
    for profile in va.query_profiles()? {
        va.query_entrypoints(profile)?;
    }
    va.get_attribute(
        profile::H264_MAIN,
        entrypoint::VLD,
        config_attrib::RT_FORMAT,
    )?;
    va.query_image_formats()?;
    let encoder = Encoder::new(va, true, va::RC_CQP)?;
    va.query_config(encoder.config)?;
    va.query_surface_attributes(encoder.config)?;
    let decoder = Decoder::new(va)?;
    for number in 0..2 {
        draw(va, encoder.input, number)?;
        let unit = encoder.submit(va, &encoder.picture(number))?;
        let unit = decoder.read(&encoder, &unit, number);
        decoder.submit(va, &unit, number)?;
        va.sync(decoder.target(number))?;
        va.sync2(decoder.target(number))?;
        look(va, decoder.target(number))?;
    }
    let image = va.create_image(fourcc(b"NV12"), SIZE)?;
    va.get_image(encoder.input, SIZE, &image)?;
    va.destroy_image(&image)?;
    let (config, context) = converter(va)?;
    va.query_filters(context)?;
    va.query_pipeline_caps(context)?;
    let mut parameters: va::ProcPipelineParameter = zeroed();
    parameters.surface = encoder.input;
    let into = va.create_surfaces(va::RT_FORMAT_RGB32, SIZE, 1, &[])?[0];
    convert(va, context, &parameters, into)?;
    va.surface_status(into)?;
    va.export(into, va::EXPORT_READ_ONLY | va::EXPORT_COMPOSED_LAYERS)?;
    let slices = va.create_buffer(
        decoder.context,
        va::buffer::SLICE_PARAMETER,
        &zeroed::<va::SliceParameterH264>(),
    )?;
    va.set_elements(slices, 1)?;
    va.destroy_buffer(slices)?;
    va.destroy_context(context)?;
    va.destroy_surfaces(&[into])?;
    va.destroy_config(config)?;
    decoder.destroy(va)?;
    encoder.destroy(va)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn each_entry_point_fails_when_it_is_told_to_and_leaves_nothing_behind() {
    alone(
        "faults::each_entry_point_fails_when_it_is_told_to_and_leaves_nothing_behind",
        |alone| {
            assert_eq!(everything(&alone.va), Ok(()));
            let before = open_files();
            for name in ALL {
                set_environment("HELIOSTAT_VA_FAULTS", &format!("{name}:1"));
                let va = Va::open(&Alone::node()).unwrap();
                assert_eq!(everything(&va), Err(status::OPERATION_FAILED), "{name}");
                assert_eq!(va.terminate(), Ok(()), "{name}");
                assert_eq!(open_files(), before, "{name}");
                let said = format!("refused {name} with OPERATION_FAILED: call 1 fails");
                assert!(alone.log().contains(&said), "{name}: {}", alone.log());
            }
        },
    );
}

#[test]
fn later_call_fails_where_that_is_planned() {
    alone("faults::later_call_fails_where_that_is_planned", |_| {
        set_environment("HELIOSTAT_VA_FAULTS", "vaEndPicture:2");
        let va = Va::open(&Alone::node()).unwrap();
        let encoder = Encoder::new(&va, false, va::RC_CQP).unwrap();
        assert!(encoder.submit(&va, &encoder.picture(0)).is_ok());
        let second = encoder.give(&va, &encoder.picture(1));
        assert_eq!(second, Err(status::OPERATION_FAILED));
        // That picture is over, as after any failure of hardware, and the next attempt goes well.
        assert_eq!(va.end(encoder.context), Err(status::OPERATION_FAILED));
        assert!(encoder.submit(&va, &encoder.picture(1)).is_ok());
    });
}

#[test]
fn display_itself_can_fail_at_both_ends() {
    alone("faults::display_itself_can_fail_at_both_ends", |alone| {
        set_environment("HELIOSTAT_VA_FAULTS", "vaInitialize:2,vaTerminate:1");
        // libva says in its own words that no driver would begin.
        assert!(Va::open(&Alone::node()).is_err());
        let va = Va::open(&Alone::node()).unwrap();
        assert_eq!(va.terminate(), Err(status::OPERATION_FAILED));
        set_environment("HELIOSTAT_VA_FAULTS", "vaTerminated:1");
        assert!(Va::open(&Alone::node()).is_err());
        let said = "is no entry point and number of a call";
        assert!(alone.log().contains(said), "{}", alone.log());
    });
}
