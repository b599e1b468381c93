package fence_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/venta-hq/redlock/fence"
)

// bucket is what S3Store needs of S3: GetObject, which fails with errNoSuchKey, and PutObject with IfMatch, or with IfNoneMatch "*" if
// etag is empty, which fails with errPrecondition (a response 412).
type bucket interface {
	GetObject(ctx context.Context, name string) (body, etag string, err error)
	PutObject(ctx context.Context, name, body, etag string) error
}

var (
	errNoSuchKey    = errors.New("NoSuchKey")
	errPrecondition = errors.New("PreconditionFailed")
)

// S3Store keeps each key's newest token in an object.
type S3Store struct{ bucket bucket }

func (s S3Store) CheckToken(ctx context.Context, key string, token int64) error {
	for {
		body, etag, err := s.bucket.GetObject(ctx, key)
		if err != nil && !errors.Is(err, errNoSuchKey) {
			return err
		}
		if err == nil {
			newest, err := strconv.ParseInt(body, 10, 64)
			switch {
			case err != nil:
				return err
			case newest > token:
				return &fence.StaleError{Key: key, Token: token, Newest: newest}
			case newest == token:
				return nil
			}
		}
		err = s.bucket.PutObject(ctx, key, strconv.FormatInt(token, 10), etag)
		if !errors.Is(err, errPrecondition) { // another check came first: look again
			return err
		}
	}
}

// S3 compares and replaces by If-Match. An object that is the data itself can have the token in its metadata and be written in the
// same way: then the check and the write are one step.
func ExampleStore_s3() {
	tryStore(S3Store{new(fakeBucket)})
	// Output:
	// <nil>
	// <nil>
	// redlock: stale fencing token of "order:42": 17, but 18 was seen; the lock has passed on, so nothing may be read or written under it
	// 64 checks at once leave 64
}

// table is what DynamoStore needs of DynamoDB: UpdateItem of the item with this key, with ReturnValuesOnConditionCheckFailure ALL_OLD.
// If the condition fails it returns ok false, and the attribute newest as it is.
type table interface {
	UpdateItem(ctx context.Context, key, update, condition string, values map[string]int64) (newest int64, ok bool, err error)
}

// DynamoStore keeps each key's newest token in an item.
type DynamoStore struct{ table table }

func (s DynamoStore) CheckToken(ctx context.Context, key string, token int64) error {
	newest, ok, err := s.table.UpdateItem(ctx, key, "SET newest = :token",
		"attribute_not_exists(newest) OR newest <= :token", map[string]int64{":token": token})
	switch {
	case err != nil:
		return err
	case !ok:
		return &fence.StaleError{Key: key, Token: token, Newest: newest}
	}
	return nil
}

// DynamoDB compares and replaces in one request. The same condition on the item that is the data, or in TransactWriteItems beside it,
// makes the check and the write one step.
func ExampleStore_dynamoDB() {
	tryStore(DynamoStore{new(fakeTable)})
	// Output:
	// <nil>
	// <nil>
	// redlock: stale fencing token of "order:42": 17, but 18 was seen; the lock has passed on, so nothing may be read or written under it
	// 64 checks at once leave 64
}

// tryStore has two holders write, the first of them late, and then many at once.
func tryStore(s fence.Store) {
	ctx := context.Background()
	for _, token := range []int64{17, 18, 17} {
		fmt.Println(s.CheckToken(ctx, "order:42", token))
	}
	var wg sync.WaitGroup
	for token := range int64(64) {
		wg.Go(func() { _ = s.CheckToken(ctx, "order:43", token+1) }) // many are stale
	}
	wg.Wait()
	var stale *fence.StaleError
	errors.As(s.CheckToken(ctx, "order:43", 1), &stale)
	fmt.Println("64 checks at once leave", stale.Newest)
}

// fakeBucket is a bucket in memory. An object's etag is its body.
type fakeBucket struct{ objects sync.Map }

func (b *fakeBucket) GetObject(_ context.Context, name string) (body, etag string, err error) {
	v, ok := b.objects.Load(name)
	if !ok {
		return "", "", errNoSuchKey
	}
	return v.(string), v.(string), nil
}

func (b *fakeBucket) PutObject(_ context.Context, name, body, etag string) error {
	if etag == "" {
		if _, there := b.objects.LoadOrStore(name, body); there {
			return errPrecondition
		}
		return nil
	}
	if !b.objects.CompareAndSwap(name, etag, body) {
		return errPrecondition
	}
	return nil
}

// fakeTable is a table in memory, which knows one condition.
type fakeTable struct {
	mu    sync.Mutex
	items map[string]int64
}

func (f *fakeTable) UpdateItem(_ context.Context, key, _, _ string, values map[string]int64) (newest int64, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	newest, there := f.items[key]
	if there && newest > values[":token"] {
		return newest, false, nil
	}
	if f.items == nil {
		f.items = map[string]int64{}
	}
	f.items[key] = values[":token"]
	return values[":token"], true, nil
}
