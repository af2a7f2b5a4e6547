package http

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

// located says in Location where the thing is that an operation made (RFC 9110, 10.2.2): at op.Made, in which {id} is the id that the
// answer has.
func (op operation) located(ctx context.Context, out any) {
	if op.Made == "" {
		return
	}
	at := op.Made
	if strings.Contains(at, "{id}") {
		at = strings.ReplaceAll(at, "{id}", fmt.Sprint(reflect.ValueOf(out).Elem().FieldByName("Body").FieldByName("ID")))
	}
	if header := exchangeOf(ctx).header; header != nil {
		header.Set("Location", at)
	}
}

// made is where the thing is that an operation makes, unless it says so itself: below its own path. What is made in the background (202) is
// there at once, and says how far it is; such an operation says so itself.
func (op operation) made() string {
	if op.Made != "" || op.Status != http.StatusCreated {
		return op.Made
	}
	return op.Path + "/{id}"
}

// checkMade refuses an operation whose answer does not have the id that its Location needs.
func (op operation) checkMade(out reflect.Type) {
	if !strings.Contains(op.Made, "{id}") {
		return
	}
	body, found := out.FieldByName("Body")
	if found && body.Type.Kind() == reflect.Struct {
		_, found = body.Type.FieldByName("ID")
	}
	if !found || strings.Count(op.Made, "{") != 1 {
		panic("http: " + op.ID + " makes a thing: Made has to say where that is, since its answer has no id, or its path names another thing")
	}
}
