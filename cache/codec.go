package cache

import (
	"bytes"
	"encoding/json"
)

// Codec turns values into bytes and back. Decode owns data.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte, v *V) error
}

// JSON is the codec of encoding/json, the default.
type JSON[V any] struct{}

func (JSON[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

// Decode is json.Unmarshal. That looks at everything twice; a string of which nothing has to be unquoted is the same at once.
func (JSON[V]) Decode(data []byte, v *V) error {
	if text, ok := any(v).(*string); ok && verbatim(data) {
		*text = string(data[1 : len(data)-1])
		return nil
	}
	return json.Unmarshal(data, v)
}

// verbatim reports whether data is a string in quotes, and what stands between them stands for itself.
func verbatim(data []byte) bool {
	last := len(data) - 1
	if last < 1 || data[0] != '"' || data[last] != '"' {
		return false
	}
	data = data[1:last]
	for _, c := range data {
		if c-' ' > '~'-' ' { // what is not ASCII, or to be seen
			return false
		}
	}
	return bytes.IndexByte(data, '"') < 0 && bytes.IndexByte(data, '\\') < 0
}
