package domain

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every field of every type of event has one category, and no category names a field that no event has.
func TestEveryEventHasACategory(t *testing.T) {
	fields := map[string][]string{"": {"original"}}
	for of, name := range typeNames {
		fields[name] = fieldsOf(of)
	}
	for name, all := range fields {
		if len(all) == 0 && len(CategoriesOf(InEvents, name, "")) != 1 {
			t.Errorf("one category of domain/data_*.go, and only one, needs the line\n\tevent(%q, \"\"),", name)
		}
		lacking := slices.DeleteFunc(slices.Clone(all), func(field string) bool { return len(CategoriesOf(InEvents, name, field)) == 1 })
		if len(lacking) > 0 {
			t.Errorf("one category of domain/data_*.go, and only one, needs the line\n\tevent(%q, %q),\nwhich lacks %v now", name, strings.Join(all, " "), lacking)
		}
	}
	for _, p := range Places(InEvents) {
		if _, known := fields[p.Name]; !known {
			t.Errorf("there is no type of event %s", p.Name)
		}
		for _, field := range p.Fields {
			if !slices.Contains(fields[p.Name], field) {
				t.Errorf("%s has no field %s", p.Name, field)
			}
		}
	}
}

// Every personal field of an event is declared as sealed, and ends with the key of its member.
func TestPersonalFieldsAreSealed(t *testing.T) {
	for of, name := range typeNames {
		for i := range of.NumField() {
			field, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if of.Field(i).Type != reflect.TypeFor[Personal]() {
				continue
			}
			if !slices.ContainsFunc(Places(InEvents), func(p Place) bool { return p.Name == name && slices.Contains(p.Sealed, field) && p.Ending == Ended }) {
				t.Errorf("the field %s of %s is personal, and its category in domain/data_*.go does not list it as sealed", field, name)
			}
		}
	}
}

// Each category has every text that a record of processing needs, and each place names only fields that it has.
func TestCategoriesAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Data {
		if c.Name == "" || names[c.Name] || c.Title == "" || c.Purpose == "" || c.Basis == "" || c.Retention == "" || len(c.Places) == 0 {
			t.Errorf("%q lacks something, or is there twice", c.Name)
		}
		if c.Personal() != (c.Kinds != "") {
			t.Errorf("%q is about people: %t, and its kinds of personal data are %q", c.Name, c.Personal(), c.Kinds)
		}
		names[c.Name] = true
		for _, p := range c.Places {
			for _, field := range slices.Concat(p.About, p.Sealed, p.Secret, words(p.Within)) {
				if !slices.Contains(p.Fields, field) {
					t.Errorf("%s has no field %s", p.Name, field)
				}
			}
			if len(p.About) > 0 && !c.Personal() {
				t.Errorf("%s is about members, and %s is about nobody", p.Name, c.Name)
			}
			if p.Ending == Deleted && len(p.About) == 0 || p.Ending == Ended && len(p.Sealed) == 0 {
				t.Errorf("%s is %s when a member is erased, and does not say where the member is in it", p.Name, p.Ending)
			}
		}
	}
}

func fieldsOf(of reflect.Type) (fields []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fields = append(fields, fieldsOf(f.Type)...)
			continue
		}
		fields = append(fields, name)
	}
	return fields
}
