// Package exactjson is encoding/json without silent changes: a string that is not UTF-8 is an error, and a number that
// is decoded into an interface is a [json.Number] instead of a float64, which may lose digits.
package exactjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// ErrNotUTF8 is returned by Marshal for a value with a string that JSON cannot represent.
var ErrNotUTF8 = errors.New("a string that is not UTF-8, which JSON would change")

// Marshal is json.Marshal, but returns ErrNotUTF8 for strings, and map keys, that are not UTF-8. It also refuses a
// \ufffd in the output of a MarshalJSON method, which looks the same.
func Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err == nil && replaced(data) {
		err = fmt.Errorf("%T: %w", v, ErrNotUTF8)
	}
	return data, err
}

// replaced reports whether encoding/json replaced bytes. It writes replaced bytes as the escape \ufffd, but a U+FFFD in
// the string itself unescaped.
func replaced(data []byte) bool {
	for {
		at := bytes.Index(data, []byte(`\ufffd`))
		if at < 0 {
			return false
		}
		before := 0
		for before < at && data[at-1-before] == '\\' {
			before++
		}
		if before%2 == 0 { // the backslash is not escaped itself
			return true
		}
		data = data[at+len(`\ufffd`):]
	}
}

// Unmarshal is json.Unmarshal, but a number that is decoded into an interface becomes a [json.Number].
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// HasInterface reports whether a value of type t may hold an interface, so that [Unmarshal] and json.Unmarshal may differ.
func HasInterface(t reflect.Type) bool { return hasInterface(t, map[reflect.Type]bool{}) }

func hasInterface(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Map:
		return hasInterface(t.Key(), seen) || hasInterface(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return hasInterface(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if hasInterface(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
