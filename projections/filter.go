package projections

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// filter is a struct whose fields are conditions on the things of a list. A zero field is no condition. The tag of a field says in SQL which
// things the field chooses:
//
//	among:"task.project_id"        those whose column is one of the values, or has none (IDs)
//	overlap:"task.assignee_ids"    those whose column has one of the values, or is empty (IDs); none:"..." says otherwise when that is
//	where:"task.updated_at >= @"   those for which the condition holds; @ is the value
//
// With ordered:"id rank" there is an index on the column of among and, behind it, on each of these fields.
//
// A query is planned for its parameters (PlanEach). So a condition without a value costs nothing, and a condition with one value is an equality,
// which keeps the order of an index.
type filter struct {
	of      reflect.Type
	where   string
	next    int                         // the number of the next parameter
	ordered func(column string) Sorting // gives the order of a column's values, if they have one
}

// IDs are the ids that a column may have. With None, a column without an id fits as well.
type IDs struct {
	Any  []uuid.UUID
	None bool
}

// newFilter makes the conditions of a filter whose first parameter has a number, on the table of a noun.
func newFilter(table string, lists Lists, next int) filter {
	f := filter{next: next, ordered: func(column string) Sorting {
		at := slices.IndexFunc(lists.Sorts, func(s Sorting) bool { return s.Values != nil && table+"."+s.Field == column })
		if at < 0 {
			return Sorting{}
		}
		return lists.Sorts[at]
	}}
	if lists.Filter == nil {
		return f
	}
	f.of = reflect.TypeOf(lists.Filter)
	for i := range f.of.NumField() {
		field := f.of.Field(i)
		value := fmt.Sprintf("$%d::%s", f.next, castOf(field.Type))
		f.next++
		none := ""
		if field.Type == reflect.TypeFor[IDs]() {
			none = fmt.Sprintf("$%d::boolean", f.next)
			f.next++
		}
		f.where += " and " + condition(field, value, none, f.ordered)
	}
	return f
}

// condition gives the SQL of one field. ordered gives the order of a column's values; such a column is indexed by the places in that order.
func condition(field reflect.StructField, value, none string, ordered func(column string) Sorting) string {
	among, overlap, where := field.Tag.Get("among"), field.Tag.Get("overlap"), field.Tag.Get("where")
	switch {
	case where != "" && field.Type.Kind() == reflect.Bool:
		return "(not " + value + " or " + where + ")"
	case where != "":
		return "(" + value + " is null or " + strings.ReplaceAll(where, "@", value) + ")"
	case overlap != "":
		return fmt.Sprintf("(%[1]s is null or cardinality(%[1]s) > 0 and %[2]s && %[1]s or %[3]s and %[4]s)", value, overlap, none,
			cmp.Or(field.Tag.Get("none"), overlap+" = '{}'"))
	case among == "":
		panic("projections: the field " + field.Name + " of a filter has no tag that says which things it chooses")
	}
	s := ordered(among)
	one, several := s.of("("+value+")[1]"), "any("+value+")"
	if s.Values != nil {
		var each []string
		for i := range s.Values {
			each = append(each, s.of(fmt.Sprintf("(%s)[%d]", value, i+1)))
		}
		several = "any(array[" + strings.Join(each, ", ") + "])"
	}
	text := fmt.Sprintf("%[1]s is null or cardinality(%[1]s) = 1 and %[2]s = %[3]s or cardinality(%[1]s) > 1 and %[2]s = %[4]s", value, s.of(among), one, several)
	if none != "" {
		text += " or " + none + " and " + among + " is null"
	}
	return "(" + text + ")"
}

// single gives the condition of a filter without values, or with one value of a column that is indexed in the order of the list. number is the
// number of the parameter for the value.
func (f filter) single(given any, sort []string, number int) (where string, value []any, is bool) {
	if given == nil || reflect.ValueOf(given).IsZero() {
		return "", nil, true
	}
	order := "id"
	for _, field := range sort {
		order = strings.TrimPrefix(field, "-")
	}
	for i := range f.of.NumField() {
		field, v := f.of.Field(i), reflect.ValueOf(given).Field(i)
		if v.IsZero() {
			continue
		}
		if ids, is := v.Interface().(IDs); is && !ids.None {
			v = reflect.ValueOf(ids.Any)
		}
		if value != nil || !slices.Contains(strings.Fields(field.Tag.Get("ordered")), order) || v.Kind() != reflect.Slice || v.Len() != 1 {
			return "", nil, false
		}
		column := field.Tag.Get("among")
		s := f.ordered(column)
		where = fmt.Sprintf(" and %s = %s", s.of(column), s.of(fmt.Sprintf("$%d::%s", number, castOf(v.Type().Elem()))))
		value = []any{v.Index(0).Interface()}
	}
	return where, value, true
}

// castOf gives the Postgres type of a Go type.
func castOf(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return "uuid"
	case reflect.TypeFor[[]uuid.UUID](), reflect.TypeFor[IDs]():
		return "uuid[]"
	case reflect.TypeFor[time.Time]():
		return "timestamptz"
	case reflect.TypeFor[domain.Date]():
		return "date"
	case reflect.TypeFor[[]string]():
		return "text[]"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "bigint"
	case reflect.Float64:
		return "float8"
	}
	panic("projections: no list is filtered or sorted by a " + t.String())
}

// values gives the parameters of a filter.
func (f filter) values(given any) (args []any) {
	if f.of == nil {
		return nil
	}
	value := reflect.Zero(f.of)
	if given != nil {
		value = reflect.ValueOf(given)
	}
	if value.Type() != f.of {
		panic(fmt.Sprintf("projections: a filter %T of a list that takes %s", given, f.of)) // a mistake of ours
	}
	for i := range value.NumField() {
		if ids, is := value.Field(i).Interface().(IDs); is {
			if ids.None && ids.Any == nil {
				ids.Any = []uuid.UUID{}
			}
			args = append(args, ids.Any, ids.None)
			continue
		}
		args = append(args, argument(value.Field(i)))
	}
	return args
}

// argument gives a value as a parameter; an absent value is null.
func argument(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil(), v.Kind() == reflect.Slice && v.IsNil():
		return nil
	case v.Type() == reflect.TypeFor[*domain.Date]():
		return string(*v.Interface().(*domain.Date))
	case v.Kind() == reflect.Pointer:
		return v.Elem().Interface()
	}
	return v.Interface()
}
