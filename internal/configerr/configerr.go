// Package configerr makes the errors of configuration fields, options and
// arguments that a caller has to change. It imports no other package of this
// module, so that all of them can use it.
package configerr

import (
	"errors"
	"fmt"
)

// Err is cluster.ErrConfig: every error of [Field] matches it.
var Err = errors.New("redlock: bad configuration")

// Field returns an error that names a field and says what is wrong with it and
// what would be right. It matches [Err].
func Field(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", Err, field, fmt.Sprintf(format, args...))
}
