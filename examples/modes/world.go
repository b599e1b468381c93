package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

const (
	orders   = 5
	accounts = 4
	rounds   = 4
	places   = 5
	opening  = 100 // in each account, at first
)

// world is a directory of files that the processes work on. It checks nothing that
// a lock is for: without locks it breaks.
type world string

func newWorld() (world, error) {
	dir, err := os.MkdirTemp("", "modes")
	w := world(dir)
	for i := range accounts {
		err = firstOf(err, w.write(fmt.Sprint("account", i), opening))
	}
	for _, name := range []string{"catalog-a", "catalog-b", "rates-a", "rates-b"} {
		err = firstOf(err, w.write(name, 0))
	}
	return w, err
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w world) path(name string) string { return filepath.Join(string(w), name) }

func (w world) read(name string) (int, error) {
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

func (w world) write(name string, n int) error {
	return os.WriteFile(w.path(name), []byte(strconv.Itoa(n)), 0o600)
}

// add adds to a number in a file, which two that do it at the same time get wrong.
func (w world) add(name string, n int) error {
	was, err := w.read(name)
	if err != nil {
		return err
	}
	return w.write(name, was+n)
}

func (w world) handled(order int) (bool, error) {
	_, err := os.Stat(w.path(fmt.Sprint("order", order)))
	if os.IsNotExist(err) {
		return false, nil
	}
	return true, err
}

// handle fails if the order was handled before.
func (w world) handle(order int) error {
	f, err := os.OpenFile(w.path(fmt.Sprint("order", order)), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// readCatalog fails if the halves are of two editions.
func (w world) readCatalog() error { return w.same("catalog-a", "catalog-b") }

func (w world) rewriteCatalog() error { return w.next("catalog-a", "catalog-b") }

func (w world) setRates() error { return w.next("rates-a", "rates-b") }

func (w world) same(a, b string) error {
	m, err := w.read(a)
	if err != nil {
		return err
	}
	n, err := w.read(b)
	if err == nil && m != n {
		err = fmt.Errorf("%s is edition %d, and %s %d", a, m, b, n)
	}
	return err
}

func (w world) next(a, b string) error { return firstOf(w.add(a, 1), w.add(b, 1)) }

// use fails if another uses the same place.
func (w world) use(place int) error {
	name := w.path(fmt.Sprint("place", place))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return firstOf(f.Close(), os.Remove(name))
}

func (w world) transfer(from, to, amount int) error {
	return firstOf(w.same("rates-a", "rates-b"), w.add(fmt.Sprint("account", from), -amount), w.add(fmt.Sprint("account", to), amount))
}

// audit says what the processes did, or what is wrong.
func (w world) audit() error {
	sum := 0
	for i := range accounts {
		n, err := w.read(fmt.Sprint("account", i))
		if err != nil {
			return err
		}
		sum += n
	}
	handled, err := filepath.Glob(w.path("order*"))
	if err != nil {
		return err
	}
	catalog, err := w.read("catalog-a")
	if err != nil {
		return err
	}
	rates, err := w.read("rates-a")
	if err != nil {
		return err
	}
	fmt.Printf("%d orders handled once, %d editions of the catalog and %d of the rates, %d in all accounts\n", len(handled), catalog, rates, sum)
	if len(handled) != orders || catalog != processes*rounds || rates != processes*rounds || sum != accounts*opening {
		return fmt.Errorf("it should be %d orders, %d editions of both, %d in all accounts", orders, processes*rounds, accounts*opening)
	}
	return nil
}
