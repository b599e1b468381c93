package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Two processes side by side answer as one would; one is killed in the middle of an order, which the other finishes, and no
// session ends with it.
func TestTwoInstancesAnswerAsOneAndOneGoesOnAlone(t *testing.T) {
	shop := filepath.Join(t.TempDir(), "shop")
	if out, err := exec.Command("go", "build", "-o", shop, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cmd := exec.Command(shop)
		cmd.Env = append(os.Environ(), nodesAt+"="+strings.Join(s.URLs(), ","))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
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
order store: each step done once, the second under a newer token; a late write of the dead is refused: a newer token has been there
`
		if string(out) != want {
			t.Errorf("printed\n%s\nwant\n%s", out, want)
		}
	})
}
