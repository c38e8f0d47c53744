use std::fs;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::schema::{MessagePool, compile};

fn proto_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto")
}

fn pool_of(name: &str, comments: bool) -> MessagePool {
    let folder = proto_dir();
    let compiled = compile(&[folder.join(name)], &[folder], comments).unwrap();
    MessagePool::link(&compiled.files).unwrap()
}

#[test]
fn a_service_is_shown_with_its_comments() {
    let pool = pool_of("game_service.proto", true);
    let expected = "\
// What the server offers to its clients.
service GameService {
  rpc connect_server(RequestMessage) returns (RequestMessage);
}
";
    assert_eq!(pool.describe("game.GameService").unwrap(), expected);
    assert_eq!(
        pool.describe("game.GameService.connect_server").unwrap(),
        "rpc connect_server(RequestMessage) returns (RequestMessage);\n"
    );
    assert_eq!(
        pool.describe("game.RequestMessage").unwrap(),
        "message RequestMessage {\n  required string message = 1;\n}\n"
    );
    assert!(pool.describe("game.Nothing").is_err());
}

/// What is printed is compiled again, and is what it was.
#[test]
fn files_survive_being_printed() {
    let again = std::env::temp_dir().join(format!("print-{}", std::process::id()));
    fs::create_dir_all(&again).unwrap();
    for name in [
        "testing.proto",
        "testing_fields.proto",
        "baidu_std.proto",
        "echo.proto",
    ] {
        let pool = pool_of(name, false);
        for file in pool.files().filter(|file| !file.starts_with("google/")) {
            fs::write(again.join(&file), pool.describe(&file).unwrap()).unwrap();
        }
        let folder = proto_dir();
        let first = compile(&[folder.join(name)], &[folder], false).unwrap();
        let second = compile(&[again.join(name)], std::slice::from_ref(&again), false)
            .unwrap_or_else(|error| panic!("{error} in\n{}", pool.describe(name).unwrap()));
        assert!(first == second, "{}", pool.describe(name).unwrap());
    }
    fs::remove_dir_all(&again).unwrap();
}

#[test]
fn everything_that_a_file_can_declare_is_printed() {
    let text = r#"syntax = "proto2";

package odd;

import "google/protobuf/descriptor.proto";

option java_package = "a\"b";

message Odd {
  option deprecated = true;
  enum Inner {
    option allow_alias = true;
    A = 0;
    B = 0 [deprecated = true];
    reserved 5 to 9;
    reserved "C";
  }
  optional group Part = 1 {
    optional int32 x = 1;
  }
  optional bytes raw = 2 [default = "\001\"", (odd.note) = { text:"why" }];
  optional Odd.Inner inner = 3 [default = B, json_name = "inside"];
  map<string, Odd.Inner> by_name = 4;
  oneof which {
    string left = 5;
    .google.protobuf.FileOptions right = 6;
  }
  extensions 100 to max;
  reserved 50, 60 to 70;
  reserved "gone";
}

message Note {
  optional string text = 1;
}

extend .google.protobuf.FieldOptions {
  optional Note note = 50000;
}
"#;
    let folder = std::env::temp_dir().join(format!("print-odd-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("odd.proto"), text).unwrap();
    let compiled = compile(
        &[folder.join("odd.proto")],
        std::slice::from_ref(&folder),
        false,
    )
    .unwrap();
    let pool = MessagePool::link(&compiled.files).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(pool.describe("odd.proto").unwrap(), text);
}

/// No `.proto` file says so, but a file of descriptors can.
#[test]
fn groups_that_have_themselves_in_them_come_to_an_end() {
    let group = |number: i32, of: &str| FieldDescriptorProto {
        name: Some(format!("g{number}")),
        number: Some(number),
        r#type: Some(Type::Group.into()),
        type_name: Some(of.to_owned()),
        ..FieldDescriptorProto::default()
    };
    let message = |name: &str, field: Vec<FieldDescriptorProto>| DescriptorProto {
        name: Some(name.to_owned()),
        field,
        ..DescriptorProto::default()
    };
    let mut outer = message(
        "A",
        vec![group(1, ".A"), group(2, ".A.B"), group(3, ".A.B")],
    );
    outer.nested_type.push(message("B", vec![group(4, ".A")]));
    let file = FileDescriptorProto {
        name: Some("a.proto".to_owned()),
        message_type: vec![outer],
        ..FileDescriptorProto::default()
    };
    let pool = MessagePool::link(&[file.encode_to_vec().into()]).unwrap();
    let text = "\
message A {
  optional .A g1 = 1;
  optional group B = 2 {
    optional .A g4 = 4;
  }
  optional .A.B g3 = 3;
}
";
    assert_eq!(pool.describe("A").unwrap(), text.replace(".A", "A"));
}
