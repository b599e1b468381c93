package harness

import (
	"context"
	"errors"
	"reflect"
	"testing"
)

// OfNil calls all methods of x, a nil pointer, that return an error. It fails
// unless Close returns nil, and the others an error that matches want.
func OfNil(t *testing.T, x any, want error) {
	t.Helper()
	v := reflect.ValueOf(x)
	for i := range v.NumMethod() {
		name, m := v.Type().Method(i).Name, v.Method(i)
		results := m.Type().NumOut()
		if name != "Close" && (results == 0 || m.Type().Out(results-1) != reflect.TypeFor[error]()) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var args []reflect.Value
			for in := range m.Type().Ins() {
				if in == reflect.TypeFor[context.Context]() {
					args = append(args, reflect.ValueOf(t.Context()))
				} else {
					args = append(args, reflect.Zero(in))
				}
			}
			if m.Type().IsVariadic() {
				args = args[:len(args)-1]
			}
			out := m.Call(args)
			var err error
			if len(out) > 0 {
				err, _ = out[len(out)-1].Interface().(error)
			}
			if name == "Close" && err != nil || name != "Close" && !errors.Is(err, want) {
				t.Errorf("of nil: %v", err)
			}
		})
	}
}
