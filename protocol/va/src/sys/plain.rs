//! C's structures out of bytes.

use crate::abi as va;

/// Types of which every pattern of bits is a value.
///
/// # Safety
///
/// The type is `repr(C)`, of integers, raw pointers and arrays of those.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident)*) => {
        $(
            // SAFETY: `abi.rs` defines it as `repr(C)` and of integers, raw pointers and arrays.
            unsafe impl Plain for va::$name {}
        )*
    };
}

plain! {
    PictureH264 PictureParameterH264 IqMatrixH264 SliceParameterH264
    EncSequenceParameterH264 EncPictureParameterH264 EncSliceParameterH264
    EncPackedHeaderParameter EncMiscRateControl EncMiscFrameRate EncMiscHrd EncMiscQualityLevel
    EncMiscSkipFrame EncRoi EncMiscRoi EncMiscDirtyRect
    ProcPipelineParameter ProcPipelineCaps PrimeSurfaceDescriptor Image ImageFormat SurfaceAttrib
    ConfigAttrib CodedBufferSegment Rectangle DrmFormatModifierList
}

// SAFETY: a number, then structures of such numbers only, so that there is no padding either.
unsafe impl Plain for va::EncMisc<va::EncMiscRateControl> {}
// SAFETY: as above.
unsafe impl Plain for va::EncMisc<va::EncMiscFrameRate> {}
// SAFETY: as above.
unsafe impl Plain for va::EncMisc<va::EncMiscHrd> {}
// SAFETY: as above, and what has padding inside begins as zeros.
unsafe impl Plain for va::EncMisc<va::EncMiscSkipFrame> {}
// SAFETY: as above.
unsafe impl Plain for va::EncMisc<va::EncMiscRoi> {}
// SAFETY: as above.
unsafe impl Plain for va::EncMisc<va::EncMiscDirtyRect> {}

/// The structure that `bytes` begin with; nothing where they are too few.
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: that many bytes are there, they need no alignment, and all values are valid.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A structure of zeros.
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: zeros are a value of such types.
    unsafe { std::mem::zeroed() }
}

/// The bytes of a structure, the padding included, which `T` had zeroed.
pub fn to_bytes<T: Plain>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<T>()];
    // SAFETY: both are that long; padding of a value made by `zeroed` or by C is initialised memory.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>(),
            bytes.as_mut_ptr(),
            bytes.len(),
        );
    }
    bytes
}

/// So many structures that a client points at; nothing where it points nowhere.
///
/// # Safety
///
/// The pointer is null or that of as many structures, as libva's contract has it.
pub unsafe fn several<T: Plain>(at: *const T, count: usize) -> Option<Vec<T>> {
    // SAFETY: the caller's promise.
    let one = |n| unsafe { at.wrapping_add(n).read_unaligned() };
    (!at.is_null()).then(|| (0..count).map(one).collect())
}

/// The rectangle that a client points at, if any.
///
/// # Safety
///
/// The pointer is null or that of a `VARectangle`, as libva's contract has it.
pub unsafe fn rectangle(at: *const va::Rectangle) -> Option<va::Rectangle> {
    // SAFETY: the caller's promise.
    (!at.is_null()).then(|| unsafe { at.read_unaligned() })
}
