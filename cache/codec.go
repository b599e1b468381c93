package cache

import (
	"encoding"
	"encoding/json"
	"reflect"

	"github.com/venta-hq/redlock/internal/exactjson"
)

// Codec encodes and decodes values. Its methods are called concurrently. Decode
// may keep and modify data.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte, v *V) error
}

// JSON is a Codec that uses [encoding/json], but never changes data silently: a
// string that is not UTF-8 is an error, and a number that is decoded into an
// interface is a [json.Number].
type JSON[V any] struct{}

func (JSON[V]) Encode(v V) ([]byte, error) { return exactjson.Marshal(v) }

func (JSON[V]) Decode(data []byte, v *V) error { return exactjson.Unmarshal(data, v) }

// verbatim stores strings and byte slices unchanged.
type verbatim[V any] struct{}

func (verbatim[V]) Encode(v V) ([]byte, error) {
	switch v := any(v).(type) {
	case string:
		return []byte(v), nil
	case []byte:
		return v, nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.String {
		return []byte(r.String()), nil
	}
	return r.Bytes(), nil
}

func (verbatim[V]) Decode(data []byte, v *V) error {
	switch v := any(v).(type) {
	case *string:
		*v = string(data)
		return nil
	case *[]byte:
		*v = data
		return nil
	}
	if r := reflect.ValueOf(v).Elem(); r.Kind() == reflect.String {
		r.SetString(string(data))
	} else {
		r.SetBytes(data)
	}
	return nil
}

// strictJSON is JSON for types without interfaces, whose numbers need no
// special treatment.
type strictJSON[V any] struct{ JSON[V] }

func (strictJSON[V]) Decode(data []byte, v *V) error { return json.Unmarshal(data, v) }

// defaultCodec returns the codec of a type for which Config.Codec is nil.
func defaultCodec[V any]() Codec[V] {
	t := reflect.TypeFor[V]()
	text := t.Kind() == reflect.String || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
	switch {
	case text && !marshals(t):
		return verbatim[V]{}
	case exactjson.HasInterface(t):
		return JSON[V]{}
	default:
		return strictJSON[V]{}
	}
}

// marshals reports whether a type has marshaling methods of its own.
func marshals(t reflect.Type) bool {
	for _, i := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}
