package lease

import (
	"testing"

	"github.com/venta-hq/redlock/mutex"
)

func TestLossesAreOfFewClasses(t *testing.T) {
	for reason, want := range map[string]string{
		expired: "expired", clockJumped: "clock", heldTooLong: "max_hold", overtaken: "overtaken", foundLate: "found_at_release",
		mutex.GoneOrTaken: "taken", "released by force by ann": "forced",
	} {
		if got := reasonClass(reason); got != want {
			t.Errorf("%s: %q, want %q", reason, got, want)
		}
	}
}
