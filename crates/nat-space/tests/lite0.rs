//! Costs of EfficientNet-Lite0 and of subnets cut out of it, against the reference's golden values.

use std::{fs, path::Path};

use nat_space::{Architecture, Network, Space};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<usize> {
    let list = value.as_array().expect("a list").iter();
    list.map(|n| n.as_u64().expect("an integer") as usize)
        .collect()
}

fn costs(network: &Network) -> (u64, u64) {
    (network.madds(), network.params())
}

#[test]
fn the_largest_subnet_is_efficientnet_lite0() {
    let space = Space::builtin("lite0").unwrap();
    let mut architecture = space.architecture(&space.largest());
    assert_eq!(
        costs(&space.network(&architecture, 1000)),
        (385_187_552, 4_652_008)
    );
    architecture.resolution = 128;
    assert_eq!(
        costs(&space.network(&architecture, 1000)),
        (126_637_568, 4_652_008)
    );
}

#[test]
fn subnets_cut_out_of_lite0() {
    let index =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/lite0/lite0_cases.json");
    let Ok(text) = fs::read_to_string(&index) else {
        println!("skipped: {}", index.display());
        return;
    };
    let cases: Value = serde_json::from_str(&text).expect("the index is JSON");
    let subnets = cases["lite0"]["subnets"].as_array().expect("a list");
    assert_eq!(subnets.len(), 5);

    let space = Space::builtin("lite0").unwrap();
    for subnet in subnets {
        // The lists run over all 16 blocks; block 0 is a stage of its own without genes.
        let (kernels, expands) = (numbers(&subnet["k"]), numbers(&subnet["e"]));
        let depths = numbers(&subnet["d"])[1..].to_vec();
        let mut architecture = Architecture {
            resolution: 224,
            width: 0,
            depths: depths.clone(),
            kernels: Vec::new(),
            expands: Vec::new(),
        };
        let mut slot = 1;
        for (stage, depth) in space.elastic_stages().zip(depths) {
            architecture
                .kernels
                .push(kernels[slot..slot + depth].to_vec());
            architecture
                .expands
                .push(expands[slot..slot + depth].to_vec());
            slot += stage.max_depth();
        }

        let genotype = space.genotype_of(&architecture).unwrap();
        assert_eq!(space.architecture(&genotype), architecture);
        let network = space.network(&architecture, 1000);
        let kept: Vec<_> = network.blocks.iter().map(|block| block.slot).collect();
        assert_eq!(kept, numbers(&subnet["blocks_kept"]), "{}", subnet["name"]);
        for side in [224, 128] {
            architecture.resolution = side;
            let (madds, params) = costs(&space.network(&architecture, 1000));
            assert_eq!(
                madds,
                subnet["madds"][format!("r{side}")],
                "{}",
                subnet["name"]
            );
            assert_eq!(params, subnet["params"], "{}", subnet["name"]);
        }
    }
}
