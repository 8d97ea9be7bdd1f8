# conf/ - the configuration file. What somebody has edited is theirs: it is neither overwritten nor removed.

EXTRA_DIST += %D%/colock.yaml
conf_source = $(top_srcdir)/%D%/colock.yaml
conf_installed = $(DESTDIR)$(sysconfdir)/colock.yaml

install-data-local:
	@$(MKDIR_P) "$(DESTDIR)$(sysconfdir)"
	@if test ! -e "$(conf_installed)" && test ! -h "$(conf_installed)"; then \
	  echo "installing $(conf_installed)"; \
	  $(INSTALL_DATA) "$(conf_source)" "$(conf_installed)"; \
	elif cmp -s "$(conf_source)" "$(conf_installed)"; then \
	  echo "$(conf_installed) is up to date"; \
	else \
	  echo "$(conf_installed) was edited and stays; the new defaults are in $(conf_installed).new"; \
	  $(INSTALL_DATA) "$(conf_source)" "$(conf_installed).new"; \
	fi

uninstall-local:
	@for file in "$(conf_installed)" "$(conf_installed).new"; do \
	  if test ! -e "$$file" && test ! -h "$$file"; then \
	    :; \
	  elif cmp -s "$(conf_source)" "$$file"; then \
	    echo "removing $$file"; \
	    rm -f "$$file"; \
	  else \
	    echo "$$file was edited and stays"; \
	  fi; \
	done
