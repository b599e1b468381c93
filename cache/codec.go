package cache

import "encoding/json"

// Codec turns values into bytes and back. Decode owns data.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte, v *V) error
}

// JSON is the codec of encoding/json, the default.
type JSON[V any] struct{}

func (JSON[V]) Encode(v V) ([]byte, error)     { return json.Marshal(v) }
func (JSON[V]) Decode(data []byte, v *V) error { return json.Unmarshal(data, v) }
