package quorumlock

// Class is why a key was not acquired, or was lost, in a word: for code, and for
// the metrics, whose attributes have these values.
type Class string

// Why a key was not acquired.
const (
	ClassHeld    Class = "held"    // by another holder
	ClassSplit   Class = "split"   // between several attempts
	ClassLate    Class = "late"    // the answers came too late
	ClassTimeout Class = "timeout" // the wait was over
	ClassHandle  Class = "handle"  // its handle was used, or came too late
)

// Why a key was lost.
const (
	ClassExpired   Class = "expired"
	ClassClock     Class = "clock" // expired, by a clock that jumped
	ClassTaken     Class = "taken"
	ClassForced    Class = "forced" // released by force
	ClassMaxHold   Class = "max_hold"
	ClassOvertaken Class = "overtaken"
	ClassAtRelease Class = "found_at_release"
)

// Reason is why a key was not acquired, or was lost.
type Reason struct {
	Class Class
	Text  string // for people
}

var (
	// Expired is the reason of a loss at the deadline.
	Expired = Reason{ClassExpired, "expired"}

	// GoneOrTaken is the reason of a loss that nobody forced.
	GoneOrTaken = Reason{ClassTaken, "gone or taken on too many nodes"}

	heldByAnother = Reason{ClassHeld, "held by another"}
	handleOver    = Reason{ClassHandle, "its handle was used before, or not within the TTL; acquire the key again"}
	split         = Reason{ClassSplit, "several attempts each hold it on some nodes"}

	// The reasons of attempts that failed although nobody else has the key.
	tooLate   = Reason{ClassLate, "the answers came too late"}
	unsettled = Reason{ClassLate, "it expired on too many nodes before its token was settled"}
)
