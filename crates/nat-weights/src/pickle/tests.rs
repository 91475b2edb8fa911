use super::*;

#[test]
fn reads_a_dictionary_with_shared_parts() {
    // {'a': (1, -2), 'b': the same tuple, 'c': [True, 2.5]}
    let bytes = b"\x80\x02}(X\x01\0\0\0aK\x01J\xfe\xff\xff\xff\x86q\x00X\x01\0\0\0bh\x00\
        X\x01\0\0\0c](\x88G\x40\x04\0\0\0\0\0\0eu.tail";
    let (pickle, length) = read(bytes).unwrap();
    assert_eq!(length, bytes.len() - 4);
    let items = pickle.dict(pickle.root).unwrap();
    assert_eq!(pickle.text(items[0].0), Some("a"));
    assert_eq!(items[0].1, items[1].1);
    assert_eq!(
        pickle.tuple(items[0].1).unwrap(),
        [Value::Int(1), Value::Int(-2)]
    );
    assert_eq!(pickle.sizes(items[0].1), None);
    assert_eq!(
        pickle.list(items[2].1).unwrap(),
        [Value::Bool(true), Value::Float(2.5)]
    );
}

#[test]
fn a_call_is_recorded_and_not_made() {
    let (pickle, _) = read(b"cos\nsystem\n(X\x04\0\0\0echotR.").unwrap();
    let Some(&Node::Call(function, _)) = pickle.node(pickle.root) else {
        panic!("{pickle:?}");
    };
    assert_eq!(pickle.global(function), Some("os.system"));
}

#[test]
fn faults_say_what_and_where() {
    for (bytes, fault) in [
        (&b"\x80\x02}"[..], "unexpected end of the data at byte 3"),
        (b"X\xff\xff\xff\xffa", "unexpected end of the data"),
        (b"t.", "no mark"),
        (b"(.", "the stack is empty"),
        (b"K\x01K\x02s.", "no object to put items in"),
        (b"h\x05.", "no remembered object 5"),
        (b"\xf0", "unsupported opcode 0xf0"),
        (b"}(K\x01u.", "a key without a value"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.starts_with(fault), "{error}");
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let mut bytes = vec![b')'];
    bytes.extend(vec![0x85; 1_000_000]);
    bytes.push(b'.');
    assert_eq!(read(&bytes).unwrap().0.nodes.len(), 1_000_001);
}

#[test]
fn many_objects_and_copies_are_refused() {
    for byte in [b')', b'N', b'('] {
        let error = read(&vec![byte; 3_000_000]).unwrap_err();
        assert!(error.starts_with("too many objects"), "{error}");
    }
    // A list of 1000 pairs, or of what are no pairs, made a dictionary over and over.
    for item in [&b"K\x01K\x02\x86"[..], b"N"] {
        let mut bytes = b"]q\x00(".to_vec();
        bytes.extend(item.repeat(1000));
        bytes.extend(b"e0ccollections\nOrderedDict\nq\x01h\x00\x85q\x020");
        bytes.extend(b"h\x01h\x02R0".repeat(100_000));
        bytes.push(b'.');
        let error = read(&bytes).unwrap_err();
        assert!(error.starts_with("too many objects"), "{error}");
    }
    // A long text as the name of a function.
    let mut bytes = b"X\0\x10\0\0".to_vec();
    bytes.extend([b'a'; 4096]);
    bytes.extend(b"2\x93.");
    let error = read(&bytes).unwrap_err();
    assert!(error.starts_with("a global whose name"), "{error}");
}
