//! Which colour a picture in luma and chroma has, by the standards' own equations.

/// A matrix: how much red and blue weigh in the luma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix {
    red: f64,
    blue: f64,
}

/// ITU-R BT.709.
pub const BT709: Matrix = Matrix {
    red: 0.2126,
    blue: 0.0722,
};
/// ITU-R BT.601.
pub const BT601: Matrix = Matrix {
    red: 0.299,
    blue: 0.114,
};

impl Matrix {
    /// The colour (red, green, blue) of a pixel with limited range.
    pub fn rgb(self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let luma = (f64::from(y) - 16.0) / 219.0;
        let difference = |c: u8| (f64::from(c) - 128.0) / 224.0;
        let red = luma + 2.0 * (1.0 - self.red) * difference(cr);
        let blue = luma + 2.0 * (1.0 - self.blue) * difference(cb);
        let green = (luma - self.red * red - self.blue * blue) / (1.0 - self.red - self.blue);
        [red, green, blue].map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8)
    }

    /// The pixel with limited range that has a colour.
    pub fn yuv(self, rgb: [u8; 3]) -> [u8; 3] {
        let [r, g, b] = rgb.map(|v| f64::from(v) / 255.0);
        let luma = self.red * r + (1.0 - self.red - self.blue) * g + self.blue * b;
        let difference = |v: f64, weight: f64| (v - luma) / (2.0 * (1.0 - weight)) * 224.0 + 128.0;
        let levels = [
            luma * 219.0 + 16.0,
            difference(b, self.blue),
            difference(r, self.red),
        ];
        levels.map(|v| v.round().clamp(0.0, 255.0) as u8)
    }
}

/// How far two colours are apart in the channel that differs most.
pub fn distance(a: [u8; 3], b: [u8; 3]) -> u8 {
    a.iter()
        .zip(b)
        .map(|(a, b)| a.abs_diff(b))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_black_and_the_primaries_are_where_the_standards_have_them() {
        for matrix in [BT601, BT709] {
            assert_eq!(matrix.rgb([235, 128, 128]), [255; 3]);
            assert_eq!(matrix.rgb([16, 128, 128]), [0; 3]);
        }
        assert_eq!(BT709.yuv([255, 0, 0]), [63, 102, 240]);
        assert_eq!(BT601.yuv([255, 0, 0]), [81, 90, 240]);
    }

    #[test]
    fn a_colour_survives_the_way_there_and_back() {
        for rgb in [[200, 40, 60], [10, 250, 128], [90, 90, 90], [0, 0, 255]] {
            for matrix in [BT601, BT709] {
                let back = matrix.rgb(matrix.yuv(rgb));
                assert!(distance(rgb, back) <= 3, "{rgb:?} came back as {back:?}");
            }
        }
    }
}
