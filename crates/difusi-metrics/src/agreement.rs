//! Whether pictures are what they were asked to be: the share of which a classifier finds the asked label the likeliest.

use crate::MetricsError;

/// Pictures of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCount {
    /// How many were asked to be of it.
    pub asked: u64,
    /// How many of them the classifier takes for that.
    pub right: u64,
}

impl ClassCount {
    /// right / asked; 0 of none.
    pub fn share(&self) -> f64 {
        self.right as f64 / self.asked.max(1) as f64
    }
}

/// Labels asked for and labels found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Of each class.
    pub classes: Vec<ClassCount>,
}

impl Agreement {
    /// Nothing yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![ClassCount::default(); classes.max(1)] }
    }

    /// Sees probabilities `[N * K]` of pictures that were asked to be `labels` `[N]`.
    ///
    /// # Errors
    /// Another number of labels than of rows; labels that the classifier does not know.
    pub fn push(&mut self, probabilities: &[f32], labels: &[u32]) -> Result<(), MetricsError> {
        let (k, pictures) = (self.classes.len(), probabilities.len() / self.classes.len());
        if labels.len() != pictures {
            let accepted = format!("{pictures}, one for each picture");
            return Err(MetricsError::value("the number of labels", labels.len(), accepted));
        }
        for (row, label) in probabilities.chunks_exact(k).zip(labels) {
            let Some(class) = self.classes.get_mut(*label as usize) else {
                let accepted = format!("0 to {}: the classifier tells {k} classes apart", k - 1);
                return Err(MetricsError::value("the label of a picture", label, accepted));
            };
            class.asked += 1;
            class.right += u64::from(likeliest(row) == *label as usize);
        }
        Ok(())
    }

    /// Pictures seen.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|c| c.asked).sum()
    }

    /// Share of all pictures; 0 of none.
    pub fn share(&self) -> f64 {
        ClassCount { asked: self.count(), right: self.classes.iter().map(|c| c.right).sum() }.share()
    }

    /// Standard error of the share, that of so many independent pictures.
    pub fn standard_error(&self) -> f64 {
        let p = self.share();
        (p * (1.0 - p) / self.count().max(1) as f64).sqrt()
    }

    /// The class with the smallest share, and the share, of those that were asked for; the first of several.
    pub fn lowest(&self) -> Option<(usize, f64)> {
        let asked = self.classes.iter().enumerate().filter(|(_, c)| c.asked > 0).map(|(i, c)| (i, c.share()));
        asked.reduce(|low, next| if next.1 < low.1 { next } else { low })
    }
}

/// The place of the largest; the first of several.
fn likeliest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, p)| if *p > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_and_of_each_class() {
        let mut agreement = Agreement::new(3);
        agreement.push(&[0.9, 0.1, 0.0, 0.2, 0.2, 0.6, 0.1, 0.8, 0.1, 0.3, 0.4, 0.3], &[0, 2, 1, 2]).unwrap();
        assert_eq!((agreement.count(), agreement.share()), (4, 0.75));
        assert_eq!(agreement.classes[2], ClassCount { asked: 2, right: 1 });
        assert_eq!(agreement.lowest(), Some((2, 0.5)));
        assert!((agreement.standard_error() - (0.75_f64 * 0.25 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(Agreement::new(3).lowest(), None);
        let said = |labels: &[u32]| Agreement::new(3).push(&[0.0, 0.5, 0.5], labels).unwrap_err().to_string();
        assert!(said(&[3]).contains("0 to 2") && said(&[]).contains("one for each"));
    }
}
