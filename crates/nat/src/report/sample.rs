//! A run directory made for tests: the files of a search in the `tiny` space, with made-up errors.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use nat_data::Filter;
use nat_space::{Genotype, Space};
use nat_transfer::{DataRecord, Preset, RunConfig, RunDirectory, RunRecord};
use serde_json::json;
use tempfile::TempDir;

pub struct Sample {
    pub space: Space,
    pub classes: Vec<String>,
    pub data: String,
    pub objectives: Vec<&'static str>,
    pub generations: usize,
    pub members: usize,
    pub folder: TempDir,
    pub name: &'static str,
}

impl Sample {
    /// A run whose directory has the given name.
    pub fn named(name: &'static str) -> Sample {
        Sample {
            space: Space::builtin("tiny").unwrap(),
            classes: vec!["glass".into(), "metal".into(), "paper".into()],
            data: "photos".into(),
            objectives: vec!["error", "madds"],
            generations: 3,
            members: 24,
            folder: tempfile::tempdir().unwrap(),
            name,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join(self.name)
    }

    /// Replaces a file of the run.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Writes `run.toml` alone.
    pub fn begin(&self) -> PathBuf {
        let preset = Preset::Quick;
        let objectives = self.objectives.iter().map(|name| name.parse().unwrap());
        let mut config = RunConfig {
            seed: 7,
            objectives: objectives.collect(),
            ..preset.config(&self.space)
        };
        (config.search.iterations, config.search.closing) = (self.generations - 1, 0);
        let record = RunRecord {
            version: "0.1.0".into(),
            preset: preset.name().into(),
            supernet: "scratch".into(),
            data: vec![DataRecord {
                name: None,
                path: self.data.clone(),
                hash: "1234".into(),
                classes: self.classes.clone(),
                search_images: Some(300),
                search_classes: Vec::new(),
                val_fraction: 0.15,
                test_fraction: 0.15,
                split_seed: 1,
                mean: [0.5; 3],
                std: [0.25; 3],
                filter: Filter::Bicubic,
            }],
            config,
            space: self.space.clone(),
            tables: Vec::new(),
        };
        RunDirectory::at(self.path()).create(&record).unwrap();
        self.path()
    }

    /// Writes the files of the finished run.
    pub fn finish(&self) -> PathBuf {
        let path = self.begin();
        let (mut archive, mut events) = (String::new(), String::new());
        writeln!(
            events,
            "{}",
            json!({"event": "start", "time": 1_735_689_600, "version": "0.1.0", "seed": 7})
        )
        .unwrap();
        for epoch in 1..=4 {
            let loss = 1.5 / epoch as f64;
            writeln!(
                events,
                "{}",
                json!({"event": "epoch", "generation": 0, "phase": "pretrain", "epoch": epoch,
                "loss": loss, "images_per_s": 812.5, "lr": 0.01})
            )
            .unwrap();
        }
        for generation in 0..self.generations {
            let genotypes = self.genotypes(generation);
            for (index, genes) in genotypes.iter().enumerate() {
                let network = self
                    .space
                    .network(&self.space.architecture(genes), self.classes.len());
                let error = 60.0 - 2.0 * (network.madds() as f64).log2()
                    + ((index * 7 + generation) % 5) as f64;
                writeln!(
                    archive,
                    "{}",
                    json!({"generation": generation, "genes": genes, "error": error,
                    "madds": network.madds(), "params": network.params()})
                )
                .unwrap();
            }
            let first = generation == 0;
            let predicted: Vec<(f64, f64)> = (0..if first { 0 } else { 6 })
                .map(|i| (20.0 + i as f64, 21.0 + 0.9 * i as f64))
                .collect();
            let metric = |value: f64| if first { None } else { Some(value) };
            writeln!(
                events,
                "{}",
                json!({"event": "epoch", "generation": generation, "phase": "adapt", "epoch": 1,
                "loss": 0.9, "images_per_s": 700.0, "lr": 0.005})
            )
            .unwrap();
            writeln!(events, "{}", json!({"event": "generation", "generation": generation, "archive": genotypes.len(),
                "front": 5, "hypervolume": 0.5 + 0.03 * generation as f64, "best_error": 18.5, "tau": metric(0.71),
                "rho": metric(0.85), "rmse": metric(1.25), "predicted": predicted,
                "seconds": {"pretrain": 0.0, "adapt": 12.0, "evaluate": 7.5, "fit": 0.1, "search": 0.4}})).unwrap();
        }
        writeln!(
            events,
            "{}",
            json!({"event": "finish", "seconds": 61.0, "peak_rss_mb": 512.0})
        )
        .unwrap();
        self.write("archive.jsonl", &archive);
        self.write("events.jsonl", &events);
        path
    }

    /// The archive of a generation: the smallest, the largest, and others that change with it.
    pub fn genotypes(&self, generation: usize) -> Vec<Genotype> {
        let (lower, upper) = (self.space.lower(), self.space.upper());
        let mut genotypes = vec![self.space.smallest(), self.space.largest()];
        for step in generation.. {
            let genes: Vec<u16> = (lower.iter().zip(&upper).enumerate())
                .map(|(gene, (low, high))| {
                    low + ((step * (gene + 2) + gene * gene) % (high - low + 1) as usize) as u16
                })
                .collect();
            let genotype = self.space.genotype(&genes).unwrap();
            if !genotypes.contains(&genotype) {
                genotypes.push(genotype);
            }
            if genotypes.len() == self.members {
                break;
            }
        }
        genotypes
    }
}

/// A whole file cut in the middle of its last line.
pub fn torn(text: &str) -> &str {
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    &text[..last + (text.len() - last) / 2]
}

/// Whether every element of a page is closed in the right order, as XML demands; `meta` and the
/// document type aside.
pub fn check_nesting(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let mut quoted = false;
        let end = tag
            .char_indices()
            .find(|&(_, c)| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .unwrap_or_else(|| panic!("a tag without end: {}", &tag[..tag.len().min(60)]))
            .0;
        let inside = &tag[..end];
        assert!(!inside.contains('<'), "a tag in a tag: {inside}");
        let name = inside.split([' ', '\n']).next().unwrap();
        if let Some(closing) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closing), "closed out of order");
        } else if !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
        rest = &tag[end + 1..];
    }
    assert!(open.is_empty(), "not closed: {open:?}");
}
