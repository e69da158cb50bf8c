//! OpenH264's encoder by its own interface: its safe wrapper has no constant quantizer, no choice of
//! entropy coding and no deblocking parameters.

use std::ffi::{c_int, c_void};

use openh264_sys2 as oh;

/// What is set before each picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Coded width, a multiple of 16.
    pub width: u32,
    /// Coded height, a multiple of 16.
    pub height: u32,
    /// CABAC instead of CAVLC.
    pub cabac: bool,
    /// `disable_deblocking_filter_idc` and both offsets, halved.
    pub deblocking: (u32, i32, i32),
    /// The quantizer of all macroblocks, where bits do not count.
    pub qp: Option<u8>,
    /// Bits a second on average and at most.
    pub bits_per_second: (u32, u32),
    /// Bounds of the quantizer, where bits count.
    pub qp_range: (u8, u8),
    /// Pictures a second.
    pub pictures_per_second: f32,
}

/// Three planes of bytes without gaps: luma, and chroma of half the sides.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// `width * height` bytes.
    pub y: &'a [u8],
    /// A quarter of that.
    pub u: &'a [u8],
    /// As much.
    pub v: &'a [u8],
}

/// The codec says no; the number is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed(pub i32);

/// One encoder.
#[derive(Debug)]
pub struct Encoder {
    codec: *mut oh::ISVCEncoder,
    settings: Option<Settings>,
    pictures: u32,
}

// SAFETY: with one thread configured, the codec keeps nothing that belongs to a thread.
unsafe impl Send for Encoder {}

/// Calls one function of the codec's table, which always has them all.
macro_rules! call {
    ($self:ident . $name:ident ( $($argument:expr),* )) => {
        // SAFETY: the codec lives until `self` is dropped, and its table is static. What else the
        // function wants is argued where it is called.
        match unsafe { (**$self.codec).$name } {
            // SAFETY: as above.
            Some(function) => unsafe { function($self.codec, $($argument),*) },
            None => -1,
        }
    };
}

impl Encoder {
    /// An encoder without settings.
    pub fn new() -> Result<Self, Failed> {
        let mut codec = std::ptr::null_mut();
        // SAFETY: it writes a pointer to an object that is ours from then on.
        let rc = unsafe { oh::source::APILoader::WelsCreateSVCEncoder(&raw mut codec) };
        match (rc, codec.is_null()) {
            (0, false) => Ok(Self {
                codec,
                settings: None,
                pictures: 0,
            }),
            _ => Err(Failed(rc)),
        }
    }

    /// Encodes a picture of the size of `settings`; the NAL units come in Annex B.
    pub fn encode(
        &mut self,
        settings: Settings,
        planes: Planes<'_>,
        key: bool,
    ) -> Result<Vec<u8>, Failed> {
        let area = settings.width as usize * settings.height as usize;
        if (planes.y.len(), planes.u.len(), planes.v.len()) != (area, area / 4, area / 4) {
            return Err(Failed(-1));
        }
        self.set(settings)?;
        if key && self.pictures > 0 {
            let rc = call!(self.ForceIntraFrame(true));
            check(rc)?;
        }
        let (width, height) = (settings.width as c_int, settings.height as c_int);
        let milliseconds = f64::from(self.pictures) * 1000.0;
        let source = oh::SSourcePicture {
            iColorFormat: oh::videoFormatI420,
            iStride: [width, width / 2, width / 2, 0],
            pData: [
                planes.y.as_ptr().cast_mut(),
                planes.u.as_ptr().cast_mut(),
                planes.v.as_ptr().cast_mut(),
                std::ptr::null_mut(),
            ],
            iPicWidth: width,
            iPicHeight: height,
            uiTimeStamp: (milliseconds / f64::from(settings.pictures_per_second)) as i64,
            bPsnrY: false,
            bPsnrU: false,
            bPsnrV: false,
        };
        let mut info = Box::new(oh::SFrameBSInfo::default());
        // The planes have the sizes that the strides and sides say; the codec reads them only.
        let rc = call!(self.EncodeFrame(&raw const source, &raw mut *info));
        check(rc)?;
        self.pictures = self.pictures.wrapping_add(1);
        Ok(collect(&info))
    }

    fn set(&mut self, settings: Settings) -> Result<(), Failed> {
        let Some(before) = self.settings else {
            return self.initialize(settings);
        };
        if before == settings {
            return Ok(());
        }
        let steady = |s: Settings| (s.width, s.height, s.cabac, s.qp.is_some());
        if steady(before) != steady(settings) {
            return Err(Failed(-2));
        }
        let mut parameters = self.parameters(settings)?;
        let option = (&raw mut parameters).cast::<c_void>();
        // The option wants a SEncParamExt, which it copies.
        let rc = call!(self.SetOption(oh::ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, option));
        check(rc)?;
        self.settings = Some(settings);
        Ok(())
    }

    fn initialize(&mut self, settings: Settings) -> Result<(), Failed> {
        let mut level = oh::WELS_LOG_QUIET;
        let quiet = (&raw mut level).cast::<c_void>();
        // The option wants an int, which it copies.
        let _ = call!(self.SetOption(oh::ENCODER_OPTION_TRACE_LEVEL, quiet));
        let parameters = self.parameters(settings)?;
        // It copies the parameters.
        let rc = call!(self.InitializeExt(&raw const parameters));
        check(rc)?;
        self.settings = Some(settings);
        Ok(())
    }

    fn parameters(&self, settings: Settings) -> Result<oh::SEncParamExt, Failed> {
        let mut all = oh::SEncParamExt::default();
        // It fills the structure in.
        let rc = call!(self.GetDefaultParams(&raw mut all));
        check(rc)?;
        let bits = |bits: u32| c_int::try_from(bits).unwrap_or(c_int::MAX);
        all.iUsageType = oh::CAMERA_VIDEO_REAL_TIME;
        all.iPicWidth = settings.width as c_int;
        all.iPicHeight = settings.height as c_int;
        all.iTargetBitrate = bits(settings.bits_per_second.0);
        all.iMaxBitrate = bits(settings.bits_per_second.1);
        all.iRCMode = match settings.qp {
            Some(_) => oh::RC_OFF_MODE,
            None => oh::RC_BITRATE_MODE,
        };
        all.fMaxFrameRate = settings.pictures_per_second;
        all.iTemporalLayerNum = 1;
        all.iSpatialLayerNum = 1;
        all.iComplexityMode = oh::LOW_COMPLEXITY;
        all.uiIntraPeriod = 0;
        all.iNumRefFrame = 1;
        all.eSpsPpsIdStrategy = oh::CONSTANT_ID;
        all.iEntropyCodingModeFlag = c_int::from(settings.cabac);
        all.bEnableFrameSkip = false;
        all.iMinQp = settings.qp_range.0.into();
        all.iMaxQp = settings.qp_range.1.into();
        all.iMultipleThreadIdc = 1;
        all.iLoopFilterDisableIdc = settings.deblocking.0 as c_int;
        all.iLoopFilterAlphaC0Offset = settings.deblocking.1;
        all.iLoopFilterBetaOffset = settings.deblocking.2;
        all.bEnableLongTermReference = false;
        all.bEnableDenoise = false;
        all.bEnableBackgroundDetection = false;
        all.bEnableAdaptiveQuant = false;
        all.bEnableSceneChangeDetect = false;
        all.bEnableFrameCroppingFlag = false;
        let layer = &mut all.sSpatialLayers[0];
        layer.iVideoWidth = settings.width as c_int;
        layer.iVideoHeight = settings.height as c_int;
        layer.fFrameRate = settings.pictures_per_second;
        layer.iSpatialBitrate = bits(settings.bits_per_second.0);
        layer.iMaxSpatialBitrate = bits(settings.bits_per_second.1);
        layer.uiProfileIdc = if settings.cabac {
            oh::PRO_MAIN
        } else {
            oh::PRO_BASELINE
        };
        layer.uiLevelIdc = oh::LEVEL_5_2;
        layer.iDLayerQp = settings.qp.unwrap_or(26).into();
        layer.sSliceArgument.uiSliceMode = oh::SM_SINGLE_SLICE;
        layer.sSliceArgument.uiSliceNum = 1;
        Ok(all)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = call!(self.Uninitialize());
        // SAFETY: the codec made it, and nothing of ours points to it any more.
        unsafe { oh::source::APILoader::WelsDestroySVCEncoder(self.codec) };
    }
}

fn check(rc: c_int) -> Result<(), Failed> {
    match rc {
        0 => Ok(()),
        rc => Err(Failed(rc)),
    }
}

fn collect(info: &oh::SFrameBSInfo) -> Vec<u8> {
    let mut stream = Vec::new();
    let layers = usize::try_from(info.iLayerNum).unwrap_or(0);
    for layer in info.sLayerInfo.iter().take(layers) {
        let units = usize::try_from(layer.iNalCount).unwrap_or(0);
        if units == 0 || layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() {
            continue;
        }
        // SAFETY: the codec says that many lengths are there, until the next picture is encoded.
        let lengths = unsafe { std::slice::from_raw_parts(layer.pNalLengthInByte, units) };
        let length = lengths
            .iter()
            .map(|length| usize::try_from(*length).unwrap_or(0))
            .sum();
        // SAFETY: the units lie there one after the other, until the next picture is encoded.
        stream.extend_from_slice(unsafe { std::slice::from_raw_parts(layer.pBsBuf, length) });
    }
    stream
}
