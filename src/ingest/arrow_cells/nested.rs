//! Columns that have columns within.

use std::collections::BTreeSet;

use arrow::array::{GenericListArray, MapArray, OffsetSizeTrait, StructArray, UnionArray};
use arrow::datatypes::UnionFields;
use tidetable_storage::quoted;

use super::super::value::push_string;
use super::{Cells, Column, Leaf};

pub(super) fn struct_cells<'a>(
    array: &'a StructArray,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let (mut fields, mut names) = (Vec::new(), BTreeSet::new());
    for (name, column) in array.column_names().into_iter().zip(array.columns()) {
        if !names.insert(name) {
            return Err(format!("Struct with two fields named {}", quoted(name)));
        }
        let mut opening = if fields.is_empty() { "{" } else { "," }.to_owned();
        push_string(&mut opening, name);
        opening.push(':');
        fields.push((opening, Column::of(column, leaves)?));
    }
    Ok(Cells::Struct(fields))
}

pub(super) fn list_cells<'a, O: OffsetSizeTrait>(
    array: &'a GenericListArray<O>,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let items = Column::of(array.values(), leaves)?;
    let offsets = array.value_offsets();
    let range = |row: usize| offsets[row].as_usize()..offsets[row + 1].as_usize();
    Ok(Cells::List(Box::new(range), Box::new(items)))
}

pub(super) fn map_cells<'a>(
    array: &'a MapArray,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let keys = Column::of(array.keys(), leaves)?;
    let values = Column::of(array.values(), leaves)?;
    let offsets = array.value_offsets();
    let index = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let range = move |row: usize| index(offsets[row])..index(offsets[row + 1]);
    Ok(Cells::Map(Box::new(range), Box::new(keys), Box::new(values)))
}

pub(super) fn union_cells<'a>(
    array: &'a UnionArray,
    fields: &UnionFields,
    leaves: &mut dyn Iterator<Item = Leaf>,
) -> Result<Cells<'a>, String> {
    let (mut columns, mut places) = (Vec::new(), [usize::MAX; 128]);
    for (id, _) in fields.iter() {
        places[usize::from(id.unsigned_abs()) % 128] = columns.len();
        columns.push(Column::of(array.child(id), leaves)?);
    }
    let place = move |row: usize| {
        let id = usize::from(array.type_id(row).unsigned_abs()) % 128;
        (places[id], array.value_offset(row))
    };
    Ok(Cells::Union(Box::new(place), columns))
}
