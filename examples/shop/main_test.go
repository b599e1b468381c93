package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// asProgram is set in the environment of a test binary that is to be the program.
const asProgram = "EXAMPLE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	harness.Main(m)
}

// Two processes side by side answer as one would. One is killed in the middle
// of an order, which the other finishes, and no session ends with it.
func TestShop_TwoInstancesAnswerAsOne(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		play(t, s)
	})
}

const want = `one: PUT /user/7 Ada - 200 changed
one: GET /user/7 - 200 Ada
two: GET /user/7 - 200 Ada
two: PUT /user/7 Ada Lovelace - 200 changed
one: GET /user/7 - 200 Ada Lovelace
two: GET /user/8 - 404 no such user
users loaded from the database: 3
one: POST /order/42 - 401 log in first
one: POST /cart/book - 200 added
two: POST /cart/pen - 200 added
two: POST /login/7 - 200 welcome, Ada Lovelace
one: GET / - 200 you are Ada Lovelace, cart: book, pen
one: killed in the middle of order 42
two: POST /order/42 - 200 processed
two: POST /order/42 - 200 was processed before
two: GET / - 200 you are Ada Lovelace, cart: book, pen
two: POST /logout - 200 goodbye
two: GET / - 200 you are nobody
order store: each step done once, the second under a newer token; a late write of the killed instance is refused
`

// play runs the program on these nodes.
func play(t *testing.T, s harness.Set, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), asProgram+"=1", nodesAt+"="+strings.Join(s.URLs(), ",")), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if string(out) != want {
		t.Errorf("printed\n%s\nwant\n%s", out, want)
	}
}
