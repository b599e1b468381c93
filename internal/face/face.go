// Package face gives packages of this module access to the internals of each
// other's public types. A public type embeds an [Of] under an unexported name:
//
//	type opened = face.Of[nodeset.Set]
//
//	type Cluster struct{ opened }
//
// and [In] returns the internal value to other packages of this module. Neither
// the field nor the method is visible outside the module.
package face

// Of holds a value of an internal package in a public type.
type Of[T any] struct{ in *T }

// Make returns the Of that holds in.
func Make[T any](in *T) Of[T] { return Of[T]{in} }

func (o *Of[T]) inside() *T { return o.in }

// In returns the internal value of p: nil if p is nil or a zero value.
func In[P interface {
	*F
	inside() *T
}, T, F any](p P) *T {
	if p == nil {
		return nil
	}
	return p.inside()
}
