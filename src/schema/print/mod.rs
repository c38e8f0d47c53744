//! Descriptors as `.proto` text: for people, and complete enough to be compiled again.

mod groups;
mod options;
mod ranges;

use std::fmt::Write as _;

use foldhash::HashMap;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor, Syntax,
};
use prost_types::source_code_info::Location;

use groups::group_of;
use options::{explicit_json_name, inline, statements};

/// What `name` stands for: the full name of a message, enum, service, method or extension, or the
/// name of a file.
pub(super) fn print(pool: &DescriptorPool, name: &str) -> Option<String> {
    if let Some(file) = pool.get_file_by_name(name) {
        let mut text = Text::of(&file);
        text.file(&file);
        return Some(text.out);
    }
    if let Some(message) = pool.get_message_by_name(name) {
        let mut text = Text::of(&message.parent_file());
        text.message(&message);
        return Some(text.out);
    }
    if let Some(kind) = pool.get_enum_by_name(name) {
        let mut text = Text::of(&kind.parent_file());
        text.enumeration(&kind);
        return Some(text.out);
    }
    if let Some(service) = pool.get_service_by_name(name) {
        let mut text = Text::of(&service.parent_file());
        text.service(&service);
        return Some(text.out);
    }
    if let Some(extension) = pool.get_extension_by_name(name) {
        let mut text = Text::of(&extension.parent_file());
        text.extensions(std::iter::once(extension));
        return Some(text.out);
    }
    let (service, method) = name.rsplit_once('.')?;
    let service = pool.get_service_by_name(service)?;
    let method = service.methods().find(|each| each.name() == method)?;
    let mut text = Text::of(&service.parent_file());
    text.method(&method);
    Some(text.out)
}

struct Text {
    out: String,
    depth: usize,
    package: String,
    proto3: bool,
    /// Comments of the file by the path of what they stand at.
    comments: HashMap<Vec<i32>, String>,
}

impl Text {
    fn of(file: &FileDescriptor) -> Self {
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let locations = info.map_or(&[][..], |info| &info.location);
        Self {
            out: String::new(),
            depth: 0,
            package: file.package_name().to_owned(),
            proto3: file.syntax() == Syntax::Proto3,
            comments: locations.iter().filter_map(comment).collect(),
        }
    }

    fn line(&mut self, text: &str) {
        let indent = self.depth * 2;
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }

    fn comment(&mut self, path: &[i32]) {
        if let Some(comment) = self.comments.get(path).cloned() {
            for line in comment.lines() {
                self.line(format!("//{line}").trim_end());
            }
        }
    }

    /// A block in braces; an empty one on one line.
    fn block(&mut self, head: &str, inside: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        let start = self.out.len();
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        if self.out.len() == start {
            self.out.truncate(start - 1);
            self.out.push_str("}\n");
        } else {
            self.line("}");
        }
    }

    /// The name of a type as this file may write it.
    fn name(&self, full: &str) -> String {
        let own = full.strip_prefix(&self.package).and_then(|rest| {
            if self.package.is_empty() {
                Some(rest)
            } else {
                rest.strip_prefix('.')
            }
        });
        own.map_or_else(|| format!(".{full}"), str::to_owned)
    }

    fn file(&mut self, file: &FileDescriptor) {
        self.line(if self.proto3 {
            "syntax = \"proto3\";"
        } else {
            "syntax = \"proto2\";"
        });
        if !self.package.is_empty() {
            self.out.push('\n');
            self.line(&format!("package {};", self.package));
        }
        let proto = file.file_descriptor_proto();
        if !proto.dependency.is_empty() {
            self.out.push('\n');
        }
        for (place, import) in proto.dependency.iter().enumerate() {
            let is = |places: &[i32]| places.iter().any(|&one| usize::try_from(one) == Ok(place));
            let kind = match (is(&proto.public_dependency), is(&proto.weak_dependency)) {
                (true, _) => "public ",
                (_, true) => "weak ",
                _ => "",
            };
            self.line(&format!("import {kind}\"{import}\";"));
        }
        let options = statements(&file.options());
        if !options.is_empty() {
            self.out.push('\n');
        }
        for option in options {
            self.line(&option);
        }
        for message in file.messages() {
            self.out.push('\n');
            self.message(&message);
        }
        for kind in file.enums() {
            self.out.push('\n');
            self.enumeration(&kind);
        }
        if file.extensions().len() > 0 {
            self.out.push('\n');
            self.extensions(file.extensions());
        }
        for service in file.services() {
            self.out.push('\n');
            self.service(&service);
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.comment(message.path());
        let head = format!("message {}", message.name());
        self.block(&head, |text| text.inside(message));
    }

    fn inside(&mut self, message: &MessageDescriptor) {
        for option in statements(&message.options()) {
            self.line(&option);
        }
        for inner in message.child_messages() {
            let is_group = message
                .fields()
                .any(|field| field.is_group() && field.kind().as_message() == Some(&inner));
            if !inner.is_map_entry() && !is_group {
                self.message(&inner);
            }
        }
        for kind in message.child_enums() {
            self.enumeration(&kind);
        }
        let mut shown: Vec<OneofDescriptor> = Vec::new();
        let proto = message.descriptor_proto();
        // In the order of the source, which is not that of the numbers.
        for declared in &proto.field {
            let Some(field) = message.get_field_by_name(declared.name()) else {
                continue;
            };
            let oneof = field.containing_oneof();
            match oneof.filter(|oneof| !oneof.is_synthetic()) {
                Some(oneof) if shown.contains(&oneof) => {}
                Some(oneof) => {
                    self.oneof(message, &oneof);
                    shown.push(oneof);
                }
                None => self.field(&field, self.label(&field)),
            }
        }
        for line in ranges::of_message(proto) {
            self.line(&line);
        }
        if message.child_extensions().len() > 0 {
            self.extensions(message.child_extensions());
        }
    }

    fn oneof(&mut self, message: &MessageDescriptor, oneof: &OneofDescriptor) {
        self.comment(oneof.path());
        self.block(&format!("oneof {}", oneof.name()), |text| {
            for option in statements(&oneof.options()) {
                text.line(&option);
            }
            for declared in &message.descriptor_proto().field {
                let field = message.get_field_by_name(declared.name());
                let within =
                    |field: &FieldDescriptor| field.containing_oneof().as_ref() == Some(oneof);
                if let Some(field) = field.filter(within) {
                    text.field(&field, "");
                }
            }
        });
    }

    fn label(&self, field: &FieldDescriptor) -> &'static str {
        if field.is_map() {
            ""
        } else if field.is_list() {
            "repeated "
        } else if field.is_required() {
            "required "
        } else if !self.proto3 || field.field_descriptor_proto().proto3_optional() {
            "optional "
        } else {
            ""
        }
    }

    fn field(&mut self, field: &FieldDescriptor, label: &str) {
        self.comment(field.path());
        let (name, number) = (field.name(), field.number());
        let proto = field.field_descriptor_proto();
        let options = inline(
            proto
                .default_value
                .as_deref()
                .map(|value| (value, field.kind())),
            explicit_json_name(proto.name(), proto.json_name()),
            &field.options(),
        );
        let kind = field.kind();
        if let Some(group) = group_of(field) {
            let head = format!("{label}group {} = {number}{options}", group.name());
            self.block(&head, |text| text.inside(&group));
            return;
        }
        let kind = match kind.as_message() {
            Some(entry) if field.is_map() => {
                let key = self.kind(&entry.map_entry_key_field().kind());
                let value = self.kind(&entry.map_entry_value_field().kind());
                format!("map<{key}, {value}>")
            }
            _ => self.kind(&field.kind()),
        };
        self.line(&format!("{label}{kind} {name} = {number}{options};"));
    }

    fn extensions(&mut self, extensions: impl Iterator<Item = ExtensionDescriptor>) {
        let mut by_message: Vec<(String, Vec<ExtensionDescriptor>)> = Vec::new();
        for extension in extensions {
            let extended = extension.containing_message().full_name().to_owned();
            match by_message.iter_mut().find(|(name, _)| *name == extended) {
                Some((_, of_it)) => of_it.push(extension),
                None => by_message.push((extended, vec![extension])),
            }
        }
        for (extended, of_it) in by_message {
            self.block(&format!("extend {}", self.name(&extended)), |text| {
                for extension in of_it {
                    text.extension(&extension);
                }
            });
        }
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        self.comment(extension.path());
        let label = match (extension.is_list(), self.proto3) {
            (true, _) => "repeated ",
            (false, false) => "optional ",
            (false, true) if extension.field_descriptor_proto().proto3_optional() => "optional ",
            _ => "",
        };
        let proto = extension.field_descriptor_proto();
        let options = inline(
            proto
                .default_value
                .as_deref()
                .map(|value| (value, extension.kind())),
            None,
            &extension.options(),
        );
        let (kind, name) = (self.kind(&extension.kind()), extension.name());
        self.line(&format!(
            "{label}{kind} {name} = {}{options};",
            extension.number()
        ));
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) {
        self.comment(kind.path());
        self.block(&format!("enum {}", kind.name()), |text| {
            for option in statements(&kind.options()) {
                text.line(&option);
            }
            // In the order of the source, which is not that of the numbers.
            for declared in &kind.enum_descriptor_proto().value {
                let Some(value) = kind.get_value_by_name(declared.name()) else {
                    continue;
                };
                text.comment(value.path());
                let options = inline(None, None, &value.options());
                text.line(&format!("{} = {}{options};", value.name(), value.number()));
            }
            for line in ranges::of_enum(kind.enum_descriptor_proto()) {
                text.line(&line);
            }
        });
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.comment(service.path());
        self.block(&format!("service {}", service.name()), |text| {
            for option in statements(&service.options()) {
                text.line(&option);
            }
            for method in service.methods() {
                text.method(&method);
            }
        });
    }

    fn method(&mut self, method: &MethodDescriptor) {
        self.comment(method.path());
        let stream = |streams: bool| if streams { "stream " } else { "" };
        let head = format!(
            "rpc {}({}{}) returns ({}{})",
            method.name(),
            stream(method.is_client_streaming()),
            self.name(method.input().full_name()),
            stream(method.is_server_streaming()),
            self.name(method.output().full_name()),
        );
        let options = statements(&method.options());
        if options.is_empty() {
            self.line(&format!("{head};"));
        } else {
            self.block(&head, |text| {
                for option in options {
                    text.line(&option);
                }
            });
        }
    }

    fn kind(&self, kind: &Kind) -> String {
        match kind {
            Kind::Double => "double".to_owned(),
            Kind::Float => "float".to_owned(),
            Kind::Int32 => "int32".to_owned(),
            Kind::Int64 => "int64".to_owned(),
            Kind::Uint32 => "uint32".to_owned(),
            Kind::Uint64 => "uint64".to_owned(),
            Kind::Sint32 => "sint32".to_owned(),
            Kind::Sint64 => "sint64".to_owned(),
            Kind::Fixed32 => "fixed32".to_owned(),
            Kind::Fixed64 => "fixed64".to_owned(),
            Kind::Sfixed32 => "sfixed32".to_owned(),
            Kind::Sfixed64 => "sfixed64".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::String => "string".to_owned(),
            Kind::Bytes => "bytes".to_owned(),
            Kind::Message(message) => self.name(message.full_name()),
            Kind::Enum(kind) => self.name(kind.full_name()),
        }
    }
}

/// The comment in front of something, with what stands apart from it.
fn comment(location: &Location) -> Option<(Vec<i32>, String)> {
    let text = location.leading_comments.as_deref()?;
    Some((location.path.clone(), text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests;
