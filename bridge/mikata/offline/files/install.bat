@echo off
rem ASCII only: cmd loses its place in a batch file with longer characters. Japanese is in texts and install.py.
setlocal EnableExtensions DisableDelayedExpansion
set "PAGE="
for /f "tokens=2 delims=:" %%c in ('chcp') do set "PAGE=%%c"
chcp 65001 >nul
py -@@{python} -c "" >nul 2>nul
if not errorlevel 1 goto launcher
python -c "import sys; sys.exit(sys.version_info[:2] != (@@{numbers}))" >nul 2>nul
if not errorlevel 1 goto plain
type "%~dp0texts\no-python.txt"
set "STATUS=1"
goto end
:launcher
py -@@{python} -X utf8 "%~dp0install.py" %*
set "STATUS=%ERRORLEVEL%"
goto end
:plain
python -X utf8 "%~dp0install.py" %*
set "STATUS=%ERRORLEVEL%"
:end
if "%~1"=="" pause
if defined PAGE chcp %PAGE% >nul
exit /b %STATUS%
