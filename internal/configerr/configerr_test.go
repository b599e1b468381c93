package configerr_test

import (
	"errors"
	"testing"

	"github.com/venta-hq/redlock/internal/configerr"
)

func TestField_NamesTheFieldAndMatchesErrConfig(t *testing.T) {
	err := configerr.Field("Config.TTL", "%ds is out of range; at most %ds", 9, 5)
	if want := configerr.Err.Error() + ": Config.TTL: 9s is out of range; at most 5s"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, configerr.Err) {
		t.Error("it does not match Err")
	}
}
