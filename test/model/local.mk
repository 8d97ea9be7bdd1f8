# test/model/ - models of the protocol for spin. test/test_model.sh checks the quick ones.

EXTRA_DIST += \
  %D%/README \
  %D%/crash.pml \
  %D%/generation.pml \
  %D%/keep.pml \
  %D%/queue.pml \
  %D%/run \
  %D%/settle.pml

.PHONY: check-model
check-model:
	@CC='$(CC)' '$(abs_top_srcdir)/%D%/run'
