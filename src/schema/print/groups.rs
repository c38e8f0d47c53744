//! Groups of proto2: a field and the message that it declares.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

/// The message that a field declares by being a group. What is no `.proto` file's may have groups that
/// lie elsewhere, or twice, and would be without end if they were written where they are used.
pub(super) fn group_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let parent = field.parent_message();
    let declares = |field: &FieldDescriptor| field.is_group().then(|| field.kind());
    let kind = declares(field)?;
    let group = kind.as_message()?;
    let first = parent
        .fields()
        .find(|other| declares(other).as_ref() == Some(&kind))?;
    (group.parent_message().as_ref() == Some(parent) && first == *field).then(|| group.clone())
}
