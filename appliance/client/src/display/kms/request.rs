//! What one commit changes, in memory that is used again for the next. Pure.

/// Properties of objects, and their values from now on.
#[derive(Debug, Default)]
pub struct Request {
    /// Object, property and value; each property of an object once.
    sets: Vec<(u32, u32, u64)>,
    arrays: Arrays,
}

/// The same as the kernel takes it.
#[derive(Debug, Default)]
pub struct Arrays {
    /// Each object once.
    pub objects: Vec<u32>,
    /// How many properties each has.
    pub counts: Vec<u32>,
    /// The properties of all objects.
    pub properties: Vec<u32>,
    /// Their values.
    pub values: Vec<u64>,
}

impl Request {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.sets.clear();
    }

    /// Sets a property; what was said of it before in this request counts no more.
    pub fn set(&mut self, object: u32, property: u32, value: u64) {
        let is_same = |set: &&mut (u32, u32, u64)| (set.0, set.1) == (object, property);
        match self.sets.iter_mut().find(is_same) {
            Some(known) => known.2 = value,
            None => self.sets.push((object, property, value)),
        }
    }

    /// All that is set, as the kernel takes it.
    pub fn arrays(&mut self) -> &mut Arrays {
        self.sets.sort_unstable();
        let arrays = &mut self.arrays;
        arrays.objects.clear();
        arrays.counts.clear();
        arrays.properties.clear();
        arrays.values.clear();
        for (object, property, value) in &self.sets {
            match arrays.objects.last() == Some(object) {
                true => *arrays.counts.last_mut().unwrap_or(&mut 0) += 1,
                false => {
                    arrays.objects.push(*object);
                    arrays.counts.push(1);
                }
            }
            arrays.properties.push(*property);
            arrays.values.push(*value);
        }
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_comes_once_with_the_last_value_of_each_property() {
        let mut request = Request::default();
        for _ in 0..2 {
            request.clear();
            for (object, property, value) in [(9, 2, 5), (7, 1, 6), (9, 1, 7), (9, 2, 8)] {
                request.set(object, property, value);
            }
            let arrays = request.arrays();
            assert_eq!(arrays.objects, [7, 9]);
            assert_eq!(arrays.counts, [1, 2]);
            assert_eq!(arrays.properties, [1, 1, 2]);
            assert_eq!(arrays.values, [6, 7, 8]);
        }
        request.clear();
        assert!(request.arrays().objects.is_empty());
    }
}
