//go:build unix

package chaos

import (
	"fmt"
	"strings"
	"time"
)

// Kind is the kind of a fault.
type Kind string

const (
	Crash    Kind = "crashed" // and restarted at the end
	Freeze   Kind = "frozen"
	Cut      Kind = "cut off"             // both ways; what was sent arrives later
	Vanish   Kind = "cut off, bytes lost" // both ways
	Deafen   Kind = "gets nothing"        // what is sent to it arrives later
	Unheard  Kind = "requests lost"
	Mute     Kind = "replies lost"          // the requests are executed
	Slow     Kind = "slow"                  // both ways, at random
	SlowTo   Kind = "slow to be reached"    // at random
	SlowFrom Kind = "slow to be heard"      // at random
	Snap     Kind = "loses its connections" // several times
	Full     Kind = "out of memory"
	Barred   Kind = "refusing scripts"            // to this user
	Crowded  Kind = "full of clients"             // after its connections were lost
	Locked   Kind = "asking for another password" // after its connections were lost
	Spent    Kind = "with fence counters near their end"
	Ahead    Kind = "with fence counters a year ahead"
	Unlearn  Kind = "without scripts"
	Emptied  Kind = "emptied by hand"
	Filled   Kind = "out of disk"         // and refuses writes until a new server replaces it
	Choked   Kind = "dead of a full disk" // until a new server replaces it
	Torn     Kind = "crashed, and has lost the end of its file"
	Jumped   Kind = "showing another time"
	Follows  Kind = "a replica of another, and then a master again"
	Moved    Kind = "led to no more by its name, which leads to an empty server" // while it still runs
	Kill     Kind = "killed and replaced"
	Stop     Kind = "stopped"
)

// Everybody means all clients.
const Everybody = -1

// Fault is one fault that lasts for a while.
type Fault struct {
	Kind   Kind
	after  time.Duration // since the previous fault was fixed, or the traffic began
	Lasts  time.Duration
	Nodes  []int
	Client int           // the slot of the affected client, or Everybody
	Shows  time.Duration // of Jumped: how far ahead the clock shows
	Part   float64       // of Torn: how much of the file is left
	Amid   *Fault        // happens halfway through this fault
	outage bool          // leaves no quorum
}

func (f Fault) String() string {
	var what []string
	for _, n := range f.Nodes {
		what = append(what, fmt.Sprintf("node %d", n))
	}
	switch {
	case len(f.Nodes) == 0:
		what = append(what, fmt.Sprintf("client in slot %d", f.Client))
	case f.Client != Everybody:
		what = append(what, fmt.Sprintf("for the client in slot %d", f.Client))
	}
	text := strings.Join(what, ", ") + " " + string(f.Kind)
	if f.Shows != 0 {
		text += fmt.Sprintf(", %v off", f.Shows)
	}
	if f.Amid != nil {
		text += "; amid that " + f.Amid.String()
	}
	return text
}

// ailments are the faults that begin and end by a command to the server.
var ailments = map[Kind]struct{ begin, fix []any }{
	Full:    {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
	Barred:  {[]any{"ACL", "SETUSER", "default", "-eval", "-evalsha"}, []any{"ACL", "SETUSER", "default", "+eval", "+evalsha"}},
	Crowded: {[]any{"CONFIG", "SET", "maxclients", "1"}, []any{"CONFIG", "SET", "maxclients", "10000"}},
	Locked:  {[]any{"ACL", "SETUSER", "default", "resetpass", ">rotated"}, []any{"ACL", "SETUSER", "default", "nopass"}},
	Spent:   {lift("9007199254740000"), putBack},
	Ahead:   {lift("redis.call('TIME')[1] + 365 * 86400 .. '000000'"), putBack},
	Unlearn: {begin: []any{"SCRIPT", "FLUSH"}},
	Emptied: {begin: []any{"FLUSHALL"}},
	Follows: {fix: []any{"REPLICAOF", "NO", "ONE"}},
}

// lift returns a script that raises all fence counters of a node to a number,
// and saves their previous values.
func lift(to string) []any {
	return []any{"EVAL", `
for _, key in ipairs(redis.call('KEYS', '*:fence')) do
  redis.call('COPY', key, 'before:' .. key, 'REPLACE')
  redis.call('SET', key, ` + to + `, 'KEEPTTL')
end
return 'OK'`, 0}
}

// putBack restores the saved values. Grants of the node in the meantime did not
// count.
var putBack = []any{"EVAL", `
for _, before in ipairs(redis.call('KEYS', 'before:*')) do
  redis.call('RENAME', before, string.sub(before, 8))
end
return 'OK'`, 0}

// fill writes more than fits on a small disk.
var fill = []any{"SET", "filler", make([]byte, tooMuch), "PX", "1000"}

// weathers are the faults of links.
var weathers = map[Kind]weather{
	Cut:      {gates: [2]gate{hold, hold}},
	Vanish:   {gates: [2]gate{lose, lose}},
	Deafen:   {gates: [2]gate{hold, pass}},
	Unheard:  {gates: [2]gate{lose, pass}},
	Mute:     {gates: [2]gate{pass, lose}},
	Slow:     {delay: [2]time.Duration{40 * time.Millisecond, 40 * time.Millisecond}},
	SlowTo:   {delay: [2]time.Duration{80 * time.Millisecond, 0}},
	SlowFrom: {delay: [2]time.Duration{0, 80 * time.Millisecond}},
}
