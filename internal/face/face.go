// Package face lets packages of this module look inside each other's public
// types. A public type embeds an [Of] under an unexported name:
//
//	type opened = face.Of[nodeset.Set]
//
//	type Cluster struct{ opened }
//
// and [In] gives other packages of this module what it stands for. Neither the
// field nor the method is visible outside the module.
package face

// Of is what a public type holds of an internal package.
type Of[T any] struct{ in *T }

// Make returns the Of that holds in.
func Make[T any](in *T) Of[T] { return Of[T]{in} }

func (o *Of[T]) inside() *T { return o.in }

// In returns what p stands for: nil if p is nil, or a zero value.
func In[P interface {
	*F
	inside() *T
}, T, F any](p P) *T {
	if p == nil {
		return nil
	}
	return p.inside()
}
