package face_test

import (
	"testing"

	"github.com/venta-hq/redlock/internal/face"
)

type engine struct{ name string }

type inner = face.Of[engine]

type public struct{ inner }

func TestIn_ReturnsWhatAFaceStandsFor(t *testing.T) {
	want := &engine{"e"}
	for _, tt := range []struct {
		name string
		p    *public
		want *engine
	}{
		{"nil", nil, nil},
		{"a zero value", &public{}, nil},
		{"a value", &public{face.Make(want)}, want},
	} {
		if got := face.In(tt.p); got != tt.want {
			t.Errorf("%s stands for %v, want %v", tt.name, got, tt.want)
		}
	}
}
